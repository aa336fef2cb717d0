"""A project has the cluster files that `bessemer cluster render` would write for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from bessemer.cli import entry
from bessemer.conversion import convert
from bessemer.conversion.plan import Plan
from bessemer.conversion.wishes import Wishes
from bessemer.conversion.writing.clusters import cluster_files
from bessemer.deployment.versions import ray_version
from bessemer.errors import ConversionError, DeploymentError
from conversion.converted_projects import Project

PLAN = Plan("train.py:1 main", 3, "", "mean", "", "min", (), (), (), ())


def files_of(wishes: str = "") -> dict[str, str]:
    return cluster_files("towns", PLAN, Wishes(text=wishes), "ray==2.60.0\n")


def test_the_files_of_a_new_project_are_as_the_verb_renders_them(digits: Project) -> None:
    assert entry(["cluster", "render", "--project", str(digits.root), "--check"]) == 0


def test_the_version_of_ray_is_that_of_the_projects_lock(digits: Project) -> None:
    tree = yaml.safe_load((digits.root / "cluster" / "raycluster.yaml").read_text())
    assert tree["spec"]["rayVersion"] == ray_version((digits.root / "requirements.lock").read_text())


def test_there_are_nodes_for_as_many_workers_as_the_plan_says() -> None:
    tree = yaml.safe_load(files_of()["cluster/raycluster.yaml"])
    assert [group["replicas"] for group in tree["spec"]["workerGroupSpecs"]] == [3]
    assert "--scaling.num-workers 3" in files_of()["cluster/rayjob.yaml"]


def test_what_the_researcher_wishes_of_clusters_is_in_the_files() -> None:
    wishes = (
        '[scaling]\nnum_workers = 8\n[deploy]\nworkers_per_node = 4\n[deploy.aws]\nfile_system = "fs-01"\n'
    )
    files = files_of(wishes)
    tree = yaml.safe_load(files["cluster/raycluster.yaml"])
    assert tree["spec"]["workerGroupSpecs"][0]["rayStartParams"]["num-cpus"] == "4"
    assert "fs-01.efs" in files["cluster/aws.yaml"]


def test_wishes_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(DeploymentError, match=r"deploy\.build"):
        files_of('[scaling]\ndevice = "gpu"\n')


def test_a_wish_that_is_no_value_of_its_setting_is_refused_with_its_name() -> None:
    with pytest.raises(ConversionError, match=r"bessemer\.toml has deploy\.worker_nodes = 0"):
        files_of("[deploy]\nworker_nodes = 0\n")


def test_a_cluster_file_that_was_edited_keeps_the_edit_when_the_program_is_converted_again(
    script: Callable[[str], Path], tmp_path: Path
) -> None:
    source = script(
        """
        import torch
        from torch.utils.data import DataLoader

        EPOCHS = 2

        def main():
            model = torch.nn.Linear(2, 1)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            data = torch.utils.data.TensorDataset(torch.randn(8, 2), torch.randn(8, 1))
            for epoch in range(EPOCHS):
                for x, y in DataLoader(data, batch_size=2):
                    optimizer.zero_grad()
                    loss = torch.nn.functional.mse_loss(model(x), y)
                    loss.backward()
                    optimizer.step()

        if __name__ == "__main__":
            main()
        """
    )
    out = tmp_path / "towns"
    convert(source, out)
    file = out / "cluster" / "storage.yaml"
    file.write_text(file.read_text().replace("100Gi", "7Gi"))
    source.write_text(source.read_text().replace("EPOCHS = 2", "EPOCHS = 3"))
    again = convert(source, out)
    assert "storage: 7Gi" in file.read_text()
    assert "cluster/storage.yaml" in again.files
