"""What a shell line of a notebook means for a program: something to install, to fetch, to make, or nothing.

No shell runs when a program trains. What a line installs or fetches is remembered, folders that it makes are
made by Python, and what only shows something is left out. Everything else is named as lost.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass


def names(text: str) -> frozenset[str]:
    """Return the words of a text.

    >>> sorted(names("ls cat"))
    ['cat', 'ls']
    """
    return frozenset(text.split())


_PIP = re.compile(
    r"^(?:sudo\s+(?:-\w+\s+)*)?(?:\{?sys\.executable\}?\s+-m\s+|\S*python[\d.]*\s+-m\s+)?(?:uv\s+)?(?:pip[\d.]*|conda|mamba)\s+install\s"
)
_SHOWS = names(
    "ls pwd cat head tail echo nvidia-smi nvcc which free df du lscpu tree uname wc file python3 python env "
    "printenv date whoami hostname top ps htop lsb_release less more stat find grep pip conda clear"
)
_FETCHES = frozenset({"wget", "curl", "gdown", "aria2c", "axel"})
_URL = re.compile(r"(?:https?|ftp)://[^\s'\"]+")
_WITH_VALUE = frozenset(
    {"-f", "--find-links", "-i", "--index-url", "--extra-index-url", "-c", "--constraint", "-t", "--target"}
    | {"--channel", "-n", "--name", "-p", "--prefix", "--progress-bar", "--trusted-host", "--timeout"}
)
_TARGET = frozenset({"-O", "-o", "--output-document", "--output"})
_INTERPOLATED = re.compile(r"[${}*?`~]")


@dataclass(frozen=True)
class Meaning:
    """What a command means.

    Attributes:
        reason: a sentence for the report, without its full stop.
        loses: whether the program may miss something that the command did.
        python: a statement that does the same, or "".
        requirements: what it installs, as pip reads it.
        downloads: URLs that it fetches, each with the file that it is put into, or "".
    """

    reason: str
    loses: bool
    python: str = ""
    requirements: tuple[str, ...] = ()
    downloads: tuple[tuple[str, str], ...] = ()


def meaning(command: str) -> Meaning:
    """Say what one line of shell means for the program.

    >>> meaning("pip install -q 'torch>=2' tqdm").requirements
    ('torch>=2', 'tqdm')
    """
    parts = [x.strip() for x in re.split(r"&&|\|\||;|\n", command) if x.strip()]
    found = [_one(part) for part in parts] or [Meaning("an empty shell line", loses=False)]
    if len(found) == 1:
        return found[0]
    statements = [x.python for x in found if x.python]
    # Half of a chain in Python and half of it gone would be worse than none.
    whole = all(x.python or not x.loses for x in found)
    return Meaning(
        "; ".join(dict.fromkeys(x.reason for x in found)),
        loses=any(x.loses for x in found) or not whole,
        python="; ".join(statements) if whole else "",
        requirements=tuple(y for x in found for y in x.requirements),
        downloads=tuple(y for x in found for y in x.downloads),
    )


def _one(command: str) -> Meaning:
    words = _words(command)
    program = words[0].rpartition("/")[2] if words else ""
    if _PIP.match(command + " "):
        return _install(words)
    if program in _FETCHES:
        urls = [url for word in words for url in _URL.findall(word)]
        target = next((words[i + 1] for i, x in enumerate(words[:-1]) if x in _TARGET), "")
        if urls:
            shown = ", ".join(urls)
            return Meaning(
                f"fetches {shown}: nothing fetches it any more",
                loses=True,
                downloads=tuple((url, target) for url in urls),
            )
        return Meaning("fetches something whose address is not written here", loses=True)
    if program == "mkdir" and not _INTERPOLATED.search(command):
        folders = [x for x in words[1:] if not x.startswith("-")]
        made = "; ".join(f"os.makedirs({folder!r}, exist_ok=True)" for folder in folders)
        return Meaning("folders are made by Python", loses=False, python=f"import os; {made}")
    if program in ("python", "python3") and not any(x in ("-V", "--version") for x in words[1:]):
        return Meaning("runs another program, which is not converted with this one", loses=True)
    if program in _SHOWS and ">" not in command:
        return Meaning("a shell command that only shows something", loses=False)
    return Meaning("a shell command: training runs none, so what it did must be there", loses=True)


def _install(words: list[str]) -> Meaning:
    wanted: list[str] = []
    files: list[str] = []
    skip = False
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if skip:
            skip = False
        elif word in ("-r", "--requirement"):
            files.append(following)
            skip = True
        elif word in _WITH_VALUE:
            skip = True
        elif not word.startswith("-"):
            wanted.append(word)
    wanted = wanted[wanted.index("install") + 1 :] if "install" in wanted else wanted
    reason = f"installs {', '.join([*wanted, *files]) or 'nothing that is named'}"
    loses = bool(files) or any("/" in x or x == "." for x in wanted)
    told = "a requirement" if not loses else "which is no requirement that could be pinned here"
    return Meaning(f"{reason}: {told}", loses, requirements=tuple(wanted))


def _words(command: str) -> list[str]:
    try:
        return shlex.split(command, comments=True)
    except ValueError:
        return command.split()
