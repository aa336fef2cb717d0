"""What IPython's magics mean for a program: the statement that takes their place, or why none does."""

from __future__ import annotations

import re
import shlex
from pathlib import PurePosixPath

from bessemer.conversion.notebooks import shell
from bessemer.conversion.notebooks.shell import Meaning, names

# They concern the notebook as a page, or the person before it.
_ABOUT_THE_PAGE = names(
    "matplotlib config load_ext reload_ext unload_ext autoreload aimport pdb debug who whos who_ls precision "
    "history hist tensorboard lsmagic quickref notebook xmode colors pinfo pinfo2 pdoc psource pycat pfile "
    "alias alias_magic bookmark doctest_mode edit macro pprint automagic gui page save tb magic watermark "
    "logstart logon logoff logstop logstate dhist psearch pwd nbdev_export"
)
_SHELL_ALIASES = names("ls ll lx ldir cat cp mv rm rmdir mkdir pip conda mamba man more less uv")
_MEASURES = names("timeit prun lprun memit mprun snakeviz")
_PYLAB = (
    "import numpy; import matplotlib; from matplotlib import pylab, mlab, pyplot; np = numpy; plt = pyplot; "
    "from pylab import *; from numpy import *"
)

# Cell magics whose cell is Python that runs as usual, once.
RUNS_CELL = names("time capture prun notify wandb memit snakeviz scalene debug")
SHELLS = names("bash sh ! sx system cmd script zsh powershell")
_PAGES = names("html HTML javascript js latex svg SVG markdown css")
_OTHER_CELLS = names("cython cu cuda perl ruby R julia sql bigquery cpp writetemplate")


def line_magic(text: str) -> Meaning:
    """Say what a line magic means, given without its mark: `matplotlib inline`."""
    name, _, rest = text.partition(" ")
    rest = rest.strip()
    if name in _ABOUT_THE_PAGE:
        return Meaning("a magic for the notebook's page; the program needs none", loses=False)
    if name in _SHELL_ALIASES:
        return shell.meaning(text)
    if name in ("sx", "system", "sc"):
        return shell.meaning(rest)
    if name in _MEASURES:
        return Meaning("runs its statement to measure it; the measurement is left out", loses=True)
    match name:
        case "time":
            return Meaning("what it times is kept", loses=False, python=rest)
        case "cd" | "pushd" | "popd":
            reason = f"changes the working folder to {rest or 'another'}: later paths were relative to it"
            return Meaning(reason, loses=True)
        case "run":
            return _run(rest)
        case "env" | "set_env":
            return _env(rest)
        case "pylab":
            return Meaning("brings the names of NumPy and pyplot", loses=False, python=_PYLAB)
        case "reset" | "reset_selective" | "xdel":
            return Meaning("forgets names that the program keeps", loses=True)
        case "store":
            return Meaning("brings values that another notebook had stored", loses="-r" in rest.split())
        case "load":
            return Meaning("the text of a file that was never put into this cell", loses=True)
    return Meaning("a magic that is not known here: what it did is missing", loses=True)


def assigned_magic(text: str) -> Meaning:
    """Say what `x = %...` assigns; `python` is an expression."""
    name, _, rest = text.partition(" ")
    rest = rest.strip()
    if name == "time":
        return Meaning("what it times is kept", loses=False, python=rest)
    if name == "pwd":
        return Meaning("the working folder", loses=False, python="__import__('os').getcwd()")
    if name == "env" and rest.isidentifier():
        python = f"__import__('os').environ[{rest!r}]"
        return Meaning("a variable of the environment", loses=False, python=python)
    if name in ("sx", "system"):
        return assigned_shell(rest)
    return Meaning("the result of a magic; here it is None", loses=True, python="None")


def assigned_shell(command: str) -> Meaning:
    """Say what `x = !...` assigns; `python` is an expression."""
    if re.search(r"[{$]", command):
        reason = "the output of a command with names of Python in it; here it is None"
        return Meaning(reason, loses=True, python="None")
    python = f"__import__('subprocess').getoutput({command!r}).splitlines()"
    return Meaning("the lines that a command prints", loses=False, python=python)


def cell_magic(text: str, body: str) -> Meaning:
    """Say what a whole cell means whose magic is not one of `RUNS_CELL`: nothing of it stays."""
    name = text.partition(" ")[0]
    if name in SHELLS:
        lines = [x.strip() for x in re.sub(r"\\\n", " ", body).split("\n")]
        commands = [x for x in lines if x and not x.startswith("#")]
        found = shell.meaning("\n".join(commands))
        return Meaning(
            found.reason, found.loses or bool(found.python), "", found.requirements, found.downloads
        )
    if name in _PAGES:
        return Meaning(f"a cell of {name} for the page", loses=False)
    if name == "timeit":
        return Meaning("a cell that is measured; what it computes was thrown away", loses=True)
    if name.startswith(("python", "pypy")):
        return Meaning("a cell that ran in a process of its own, with its own names", loses=True)
    return Meaning(f"a cell of {name}, which is not Python", loses=True)


def is_other_language(name: str) -> bool:
    """Tell whether a cell magic is known to run something else than the notebook's Python."""
    return name in SHELLS | _PAGES | _OTHER_CELLS or name.startswith(("python", "pypy", "timeit"))


def _run(rest: str) -> Meaning:
    words = _words(rest)
    options = [x for x in words if x.startswith("-")]
    files = [x for x in words if not x.startswith("-")]
    if len(files) == 1 and set(options) <= {"-i", "-n"}:
        path = PurePosixPath(files[0])
        parts = path.with_suffix("").parts
        if path.suffix in (".py", "") and all(x.isidentifier() for x in parts) and parts:
            reason = "its names are imported; what stands under its main guard does not run"
            return Meaning(reason, loses=False, python=f"from {'.'.join(parts)} import *")
    return Meaning("runs another file, whose names are missing here", loses=True)


def _env(rest: str) -> Meaning:
    found = re.fullmatch(r"([A-Za-z_]\w*)(?:\s*=\s*|\s+)(.+)", rest)
    if found is None:
        return Meaning("shows the environment", loses=False)
    if re.search(r"[{$]", found[2]):
        return Meaning("sets a variable of the environment from names of Python", loses=True)
    python = f"import os; os.environ[{found[1]!r}] = {found[2].strip()!r}"
    return Meaning("sets a variable of the environment", loses=False, python=python)


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()
