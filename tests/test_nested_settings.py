"""A section inside a section is read, merged and written as one at the top."""

from __future__ import annotations

from bessemer.config.loading import load_settings, to_toml
from bessemer.config.settings import Settings
from settings_examples import Digits, Write, refused, typed

NAMESPACE = "BESSEMER_DEPLOY__KUBERNETES__NAMESPACE"


def test_values_of_an_inner_section_from_several_sources_are_put_together(write: Write) -> None:
    file = write('[deploy]\nworker_nodes = 3\n[deploy.kubernetes]\nnamespace = "file"\nretries = 5\n')
    arguments = ["--deploy.kubernetes.storage-claim", "shared"]
    loaded = load_settings(Settings, arguments, {NAMESPACE: "environment"}, file)
    kubernetes = loaded.settings.deploy.kubernetes
    assert loaded.settings.deploy.worker_nodes == 3
    assert (kubernetes.namespace, kubernetes.retries) == ("environment", 5)
    assert (kubernetes.storage_claim, kubernetes.grace_s) == ("shared", 90)
    origins = {name: loaded.origins[f"deploy.kubernetes.{name}"] for name in ("namespace", "retries")}
    assert origins == {"namespace": "environment", "retries": "file"}
    assert loaded.origins["deploy.kubernetes.storage_claim"] == "command line"


def test_a_table_of_the_users_own_inside_a_section_is_replaced_as_a_whole(write: Write) -> None:
    file = write('[deploy.clusters.here]\naddress = "http://a"\n')
    variable = {"BESSEMER_DEPLOY__CLUSTERS": '{"there": {"address": "http://b"}}'}
    assert set(load_settings(Settings, [], variable, file).settings.deploy.clusters) == {"there"}


def test_a_list_of_an_inner_section_is_read_from_the_command_line() -> None:
    settings = typed("--deploy.machines.worker-ips", "192.0.2.1", "192.0.2.2")
    assert settings.deploy.machines.worker_ips == ["192.0.2.1", "192.0.2.2"]


def test_inner_sections_are_written_as_tables_and_come_back_equal(write: Write) -> None:
    given = ("--deploy.kubernetes.namespace", "a", "--deploy.machines.worker-ips", "192.0.2.1")
    text = to_toml(typed(*given))
    assert '\n[deploy.kubernetes]\nnamespace = "a"\n' in text
    assert load_settings(Digits, file=write(text)).settings == typed(*given)


def test_a_wrong_name_in_an_inner_section_comes_with_the_right_one() -> None:
    assert "--deploy.kubernetes.namespace?" in refused("--deploy.kubernetes.namespac", "a").expected


def test_a_wrong_value_in_an_inner_section_is_named_with_its_place() -> None:
    assert "deploy.kubernetes.retries = '-2'" in refused("--deploy.kubernetes.retries", "-2").found
