"""All files of a project, as text by relative path: the rooms, the jobs, the tests and the papers."""

from __future__ import annotations

import ast
import importlib.metadata
import json
import keyword
import re
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import resources

import jinja2

from bessemer.conversion.analysis import Analysis
from bessemer.conversion.dependencies import Dependencies, find_dependencies, lock
from bessemer.conversion.plan import Plan
from bessemer.conversion.ranges import suggested
from bessemer.conversion.rewrites import Rewritten
from bessemer.conversion.roles import ROOMS, Room
from bessemer.conversion.rooms import compose, summary
from bessemer.conversion.settings_module import compose_settings
from bessemer.errors import ConversionError

_TEMPLATES = {
    "Makefile": "Makefile.j2",
    "pyproject.toml": "pyproject.toml.j2",
    "docker/Dockerfile": "Dockerfile.j2",
    "cluster/cluster.yaml": "cluster.yaml.j2",
    "settings.toml": "settings.toml.j2",
    "README.md": "README.md.j2",
    "CONVERSION.md": "CONVERSION.md.j2",
}
_JOBS = {
    "train": "Train, or go on where training was interrupted.",
    "tune": "Search for good settings.",
    "evaluate": "Evaluate the best checkpoint.",
}
_ROOM_OF_ROOMS = {
    "config": "Settings.",
    "data": "Data: preprocessing, data sets, loaders.",
    "models": "Models and losses.",
    "training": "Training and evaluation.",
    "utils": "Metrics.",
}


@dataclass(frozen=True)
class Names:
    """What a project is called, where it came from, and what it may be imported as.

    `source_run` is the training run of a notebook that was chosen, None for all of the source.
    """

    name: str
    package: str
    source: str
    source_sha256: str
    source_run: int | None = None


def package_name(name: str) -> str:
    """Return the name of a project's package: an identifier that hides nothing that is installed.

    >>> package_name("hand-written digits")
    'hand_written_digits'
    """
    plain = re.sub(r"\W+", "_", name).strip("_").lower() or "project"
    plain = f"_{plain}" if plain[0].isdigit() else plain
    installed = plain in importlib.metadata.packages_distributions()
    taken = installed or plain in sys.stdlib_module_names or plain in ("tests", "jobs")
    return f"{plain}_project" if taken or keyword.iskeyword(plain) or plain == "bessemer" else plain


def compose_project(
    analysis: Analysis,
    rewritten: Rewritten,
    rooms: Mapping[str, Room],
    plan: Plan,
    names: Names,
) -> dict[str, str]:
    """Return the text of every file of a project."""
    package = names.package
    files = {
        f"{package}/__init__.py": f'"""{names.name}: written by Bessemer from {names.source}."""\n',
        f"{package}/config/settings.py": compose_settings(analysis.script),
    }
    files |= {f"{package}/{folder}/__init__.py": f'"""{text}"""\n' for folder, text in _ROOM_OF_ROOMS.items()}
    composed = compose(analysis, rewritten, rooms, package)
    files |= {f"{package}/{path}": text for path, text in composed.items()}
    files |= {f"jobs/{verb}.py": _job(verb, text) for verb, text in _JOBS.items()}
    files["tests/test_project.py"] = _tests(analysis, package, composed)
    needed = find_dependencies([analysis.script.program.module])
    files["requirements.lock"] = _lock(needed)
    values = _values(analysis, plan, names, needed, composed)
    files |= {path: _render(template, values) for path, template in _TEMPLATES.items()}
    return files


def manifest(analysis: Analysis, plan: Plan, names: Names, digests: Mapping[str, str]) -> str:
    """Return `conversion.json`: the plan, the options, and the hash of every file written."""
    content = {
        **asdict(names),
        "bessemer": _version(),
        "plan": asdict(plan),
        "options": [asdict(option) for option in analysis.script.options.options],
        "files": dict(digests),
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _version() -> str:
    try:
        return importlib.metadata.version("bessemer")
    except importlib.metadata.PackageNotFoundError:
        return "0.1.0"


def _values(
    analysis: Analysis,
    plan: Plan,
    names: Names,
    needed: Dependencies,
    composed: Mapping[str, str],
) -> dict[str, object]:
    entry = analysis.script.entry
    assert entry is not None
    about = " ".join((analysis.script.docstring or "").split("\n\n")[0].split())
    options = [
        {**asdict(option), "shown": _toml(option.default)} for option in analysis.script.options.options
    ]
    return {
        **asdict(names),
        "distribution": re.sub(r"[^a-z0-9]+", "-", names.package.lower()).strip("-"),
        "description": about or f"{names.name}, trained with PyTorch.",
        "script": analysis.script.program.path,
        "entry": f"{names.package}.training.trainer:{entry.name.value}",
        "bessemer_version": _version(),
        "dependencies": needed.direct,
        "missing": needed.missing,
        "options": options,
        "ranges": suggested(analysis.script.options.options),
        "plan": plan,
        "num_workers": plan.num_workers,
        "num_workers_reason": plan.num_workers_reason,
        "loss_reduction": plan.loss_reduction,
        "best_metric": plan.best_metric,
        "best_mode": plan.best_mode,
        "rooms": [(room, summary(composed[f"{room}.py"])) for room in ROOMS],
    }


def _toml(default: str | None) -> str:
    """Show a default as TOML; what has no TOML is shown as it is in Python."""
    if default is None:
        return "... # must be given"
    if default in ("True", "False"):
        return default.lower()
    if default == "None":
        return "... # not set"
    if re.fullmatch(r"'[^'\\]*'", default):
        return f'"{default[1:-1]}"'
    if default.startswith("("):
        return f"[{default[1:-1].rstrip(', ')}]"
    try:
        # TOML has no `1.` and no `.5`.
        value = ast.literal_eval(default)
    except (ValueError, SyntaxError):
        value = None
    return repr(value) if isinstance(value, int | float) else default.replace("\n", " ")


def _job(verb: str, text: str) -> str:
    return (
        f'"""{text} The command line is that of `bessemer {verb}`."""\n\n'
        "import sys\n"
        "from pathlib import Path\n\n"
        "import bessemer.cli\n\n"
        'if __name__ == "__main__":\n'
        "    project = str(Path(__file__).resolve().parents[1])\n"
        f'    raise SystemExit(bessemer.cli.entry(["{verb}", "--project", project, *sys.argv[1:]]))\n'
    )


def _tests(analysis: Analysis, package: str, composed: Mapping[str, str]) -> str:
    modules = [f"{package}.config.settings"]
    modules += [f"{package}.{path.removesuffix('.py').replace('/', '.')}" for path in composed]
    plain = [x for x in analysis.script.options.options if x.default and not x.default_is_call]
    required = [x for x in analysis.script.options.options if x.default is None]
    defaults = "".join(f'    "{x.field}": {x.default},\n' for x in plain)
    examples = "".join(f'    "{x.field}": {_example(x.annotation)},\n' for x in required)
    listed = "".join(f'    "{name}",\n' for name in modules)
    return f'''"""Is the project whole: do its modules import, are its settings those of the research code?"""

import importlib

import pytest

from {package}.config.settings import Settings

MODULES = [
{listed}]
# The defaults of the research code's options, and a value for each option that has none.
DEFAULTS = {{
{defaults}}}
REQUIRED = {{
{examples}}}


@pytest.mark.parametrize("name", MODULES)
def test_module_imports(name):
    assert importlib.import_module(name).__doc__


def test_settings_have_the_defaults_of_the_research_code():
    settings = Settings(**REQUIRED)
    assert {{name: getattr(settings, name) for name in DEFAULTS}} == DEFAULTS


def test_settings_survive_json():
    settings = Settings(**REQUIRED)
    assert Settings.model_validate_json(settings.model_dump_json()) == settings


def test_settings_refuse_what_they_do_not_know():
    with pytest.raises(ValueError, match="no_such_option"):
        Settings(**REQUIRED, no_such_option=1)
'''


def _example(annotation: str) -> str:
    examples = {"int": "1", "float": "1.0", "str": '"text"', "bool": "True", "Path": '"path"'}
    if annotation.startswith("tuple["):
        return f"({_example(annotation[6:-6])},)"
    if annotation.startswith("Literal["):
        return annotation[8:-1].split(",")[0]
    return examples.get(annotation.removesuffix(" | None"), "None")


def _lock(needed: Dependencies) -> str:
    lines = [
        "# Everything the project needs, with the versions it was converted with.",
        f"bessemer=={_version()}",
        *(x for x in _with_runtime(needed) if not x.startswith("bessemer==")),
    ]
    return "\n".join(lines) + "\n"


def _with_runtime(needed: Dependencies) -> tuple[str, ...]:
    runtime = ["bessemer"] if _is_installed("bessemer") else ["torch", "ray", "mlflow-skinny"]
    own = [x for x in runtime if _is_installed(x)]
    return tuple(sorted({*needed.lock, *lock(own)}))


def _is_installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _render(template: str, values: Mapping[str, object]) -> str:
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, keep_trailing_newline=True, autoescape=False
    )
    environment.filters |= {
        "toml": lambda text: json.dumps(text, ensure_ascii=False),
        "lines": lambda text, mark: "\n".join(f"{mark}{line}" for line in text.splitlines()),
        "first_line": lambda text: (text.splitlines() or [""])[0],
        "sentence": lambda text: f"{text[:1].upper()}{text[1:].rstrip('.')}.",
    }
    try:
        text = resources.files("bessemer.conversion").joinpath("templates", template).read_text("utf-8")
    except FileNotFoundError as error:
        raise ConversionError(
            f"the template {template} is missing",
            "a complete installation of Bessemer",
            'pip install --force-reinstall "bessemer[convert]"',
        ) from error
    return environment.from_string(text).render(values)
