"""Takes secrets out of text before it is written down: passwords in URIs, values of secret variables.

What is secret is told by the names of environment variables, so a value that no variable has is not known.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping

MASKED = "***"
# TOKENIZERS_PARALLELISM and MONKEY_PATCH are none.
_SECRET_NAME = re.compile(
    r"SECRET|PASSW(OR)?D|PASSPHRASE|CREDENTIAL|TOKEN(?!I[ZS])|(^|_)PAT$|(API|ACCESS|PRIVATE|^|_)KEYS?(_|$)",
    re.I,
)
# Shorter ones are words such as "true", which would be masked everywhere.
_LEAST_LENGTH = 6
_URI_PASSWORD = re.compile(r"(\b[A-Za-z][A-Za-z0-9+.-]*://[^\s:/?#@\"'<>]*):[^\s\"'<>]*@")
_LOOK_EVERY_S = 1.0


class Mask:
    """Takes the secrets of an environment out of text.

    Args:
        environment: variables; by default this process's, looked at again once a second.
    """

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._environment = os.environ if environment is None else environment
        self._looked_at = -_LOOK_EVERY_S
        self._num_variables = -1
        self._secrets: list[str] = []

    def __call__(self, text: str) -> str:
        """Return a text without what must not be read."""
        now = time.monotonic()
        if now - self._looked_at >= _LOOK_EVERY_S or len(self._environment) != self._num_variables:
            self._secrets, self._looked_at = secrets_of(self._environment), now
            self._num_variables = len(self._environment)
        for secret in self._secrets:
            if secret in text:
                text = text.replace(secret, MASKED)
        if "://" in text and "@" in text:
            text = _URI_PASSWORD.sub(rf"\1:{MASKED}@", text)
        return text


def secrets_of(environment: Mapping[str, str]) -> list[str]:
    """Return the values of variables whose names say that they are secret, the longest first.

    >>> secrets_of({"API_KEY": "abcdefgh", "TOKENIZERS_PARALLELISM": "falsefalse", "DB_PASSWORD": "short"})
    ['abcdefgh']
    """
    # The environment may change while it is read.
    found = {
        value
        for name, value in list(environment.items())
        if len(value) >= _LEAST_LENGTH and _SECRET_NAME.search(name)
    }
    # One may be a part of another.
    return sorted(found, key=lambda value: (-len(value), value))
