"""Secrets are not written down."""

from __future__ import annotations

import pytest

from bessemer.utils.masking import Mask, secrets_of


@pytest.mark.parametrize(
    "name",
    [
        *("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "HF_TOKEN", "GITHUB_PAT", "WANDB_API_KEY", "apikey"),
        *("MLFLOW_TRACKING_PASSWORD", "PGPASSWD", "KEY", "GOOGLE_CREDENTIALS", "MY_TOKENS"),
    ],
)
def test_values_of_variables_that_are_named_as_secrets_are_masked(name: str) -> None:
    assert Mask({name: "abc-123-def"})("login with abc-123-def now") == "login with *** now"


@pytest.mark.parametrize(
    "name", ["TOKENIZERS_PARALLELISM", "MONKEY_PATCH", "PATH", "KEYBOARD_LAYOUT", "HOME"]
)
def test_values_of_other_variables_are_left(name: str) -> None:
    assert Mask({name: "abc-123-def"})("it is abc-123-def") == "it is abc-123-def"


def test_a_secret_that_contains_another_is_masked_whole() -> None:
    assert secrets_of({"A_KEY": "abcdef", "B_KEY": "abcdefgh"}) == ["abcdefgh", "abcdef"]
    assert Mask({"A_KEY": "abcdef", "B_KEY": "abcdefgh"})("abcdefgh") == "***"


def test_words_such_as_true_are_never_secrets() -> None:
    assert Mask({"USE_TOKEN": "true"})("it is true") == "it is true"


def test_a_secret_that_is_set_later_is_masked_too() -> None:
    environment: dict[str, str] = {}
    mask = Mask(environment)
    assert mask("abcdefgh") == "abcdefgh"
    environment["NEW_SECRET"] = "abcdefgh"
    assert mask("abcdefgh") == "***"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("postgresql://me:pass@db:5432/x failed", "postgresql://me:***@db:5432/x failed"),
        ("http://u:p@ss@host/a and http://host:80/b", "http://u:***@host/a and http://host:80/b"),
        ("redis://:pw@h", "redis://:***@h"),
        ("http://host:80/ mail me@there", "http://host:80/ mail me@there"),
    ],
)
def test_passwords_in_uris_are_masked(text: str, masked: str) -> None:
    assert Mask({})(text) == masked
