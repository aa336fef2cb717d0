"""All files of a project, as text by relative path: the rooms, the jobs, the tests and the papers."""

from __future__ import annotations

import importlib.metadata
import json
import keyword
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import libcst as cst
from packaging.requirements import Requirement

from bessemer.conversion.analysis import Analysis
from bessemer.conversion.downloads import Fetch, download_stage
from bessemer.conversion.plan import Plan
from bessemer.conversion.ranges import suggested
from bessemer.conversion.rewrites import Rewritten
from bessemer.conversion.roles import ROOMS, Room
from bessemer.conversion.settings_module import compose_settings
from bessemer.conversion.wishes import Wishes
from bessemer.conversion.writing.clusters import cluster_files
from bessemer.conversion.writing.dependencies import Dependencies, find_dependencies, lock
from bessemer.conversion.writing.hints import Hint
from bessemer.conversion.writing.papers import changes, example_of, left_rows, render, setting_rows
from bessemer.conversion.writing.project_tests import values_of_tests
from bessemer.conversion.writing.rooms import compose, summary
from bessemer.deployment.image import resource_name
from bessemer.deployment.wheel import wheel_name

_TEMPLATES = {
    "Makefile": "Makefile.j2",
    "pyproject.toml": "pyproject.toml.j2",
    ".dockerignore": "dockerignore.j2",
    ".gitignore": "gitignore.j2",
    "settings.toml": "settings.toml.j2",
    "README.md": "README.md.j2",
    "CONVERSION.md": "CONVERSION.md.j2",
    "tests/test_project.py": "tests/test_project.py.j2",
    "tests/test_training.py": "tests/test_training.py.j2",
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
    hints: Mapping[str, Hint],
    fetches: Sequence[Fetch],
    wishes: Wishes,
) -> dict[str, str]:
    """Return the text of every file of a project.

    Args:
        analysis: the program.
        rewritten: the same, after all changes.
        rooms: where each definition goes.
        plan: what is done, for the papers.
        names: what the project is called.
        hints: versions that the research code asks for.
        fetches: what it downloads.
        wishes: sections of settings that the researcher gave.
    """
    package = names.package
    files = {
        f"{package}/__init__.py": f'"""{names.name}: written by Bessemer from {names.source}."""\n',
        f"{package}/config/settings.py": compose_settings(analysis.script),
    }
    files |= {f"{package}/{folder}/__init__.py": f'"""{text}"""\n' for folder, text in _ROOM_OF_ROOMS.items()}
    composed = compose(analysis, rewritten, rooms, package, download_stage(analysis, fetches))
    files |= {f"{package}/{path}": text for path, text in composed.items()}
    files |= {f"jobs/{verb}.py": _job(verb, text) for verb, text in _JOBS.items()}
    modules = [cst.parse_module(text) for path, text in files.items() if path.startswith(f"{package}/")]
    needed = find_dependencies(modules, hints, own=(package, "bessemer"))
    files["requirements.lock"] = _lock(needed)
    files["requirements-dev.lock"] = _development_lock(files["requirements.lock"])
    files |= cluster_files(names.name, plan, wishes, files["requirements.lock"])
    values = {**_values(analysis, plan, names, needed, composed, fetches), "wishes": wishes}
    files |= {path: render(template, values) for path, template in _TEMPLATES.items()}
    return files


def manifest(
    analysis: Analysis, plan: Plan, names: Names, fetches: Sequence[Fetch], digests: Mapping[str, str]
) -> str:
    """Return `conversion.json`: the plan, the options, and the hash of every file written."""
    content = {
        **asdict(names),
        "bessemer": _version(),
        "plan": asdict(plan),
        "left": [asdict(file) for file in analysis.left],
        "data": [asdict(fetch) for fetch in fetches],
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
    fetches: Sequence[Fetch],
) -> dict[str, object]:
    entry = analysis.script.entry
    assert entry is not None
    about = " ".join((analysis.script.docstring or "").split("\n\n")[0].split())
    options = analysis.script.options.options
    return {
        **asdict(names),
        **values_of_tests(names.package, composed, options),
        "distribution": re.sub(r"[^a-z0-9]+", "-", names.package.lower()).strip("-"),
        "description": about or f"{names.name}, trained with PyTorch.",
        "script": analysis.script.program.path,
        "entry": f"{names.package}.training.trainer:{entry.name.value}",
        "bessemer_version": _version(),
        "image": resource_name(names.name),
        "wheel": wheel_name(_version()),
        "dependencies": needed.direct,
        "dependency_notes": needed.notes,
        "renamed": needed.modules,
        "options": setting_rows(options),
        "ranges": suggested(options),
        "example": example_of(options),
        "plan": plan,
        "changes": changes(plan.rewrites),
        "left": left_rows(analysis.left),
        "fetches": fetches,
        "downloads": any(x.code for x in fetches),
        "num_workers": plan.num_workers,
        "num_workers_reason": plan.num_workers_reason,
        "loss_reduction": plan.loss_reduction,
        "best_metric": plan.best_metric,
        "best_mode": plan.best_mode,
        "rooms": [(room, summary(composed[f"{room}.py"])) for room in ROOMS],
    }


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


def _lock(needed: Dependencies) -> str:
    lines = [
        "# Everything the project needs, with the versions it was converted with.",
        f"bessemer=={_version()}",
        *(x for x in _with_runtime(needed) if not x.startswith("bessemer==")),
    ]
    return "\n".join(lines) + "\n"


def _development_lock(runtime: str) -> str:
    """Return what testing, verifying and converting again need beside the other lock."""
    extra = (
        [Requirement(x) for x in importlib.metadata.requires("bessemer") or ()]
        if _is_installed("bessemer")
        else []
    )
    convert = [x.name for x in extra if x.marker is not None and x.marker.evaluate({"extra": "convert"})]
    wanted = sorted({"pytest", "ruff", *convert})
    has = {line.partition("==")[0] for line in runtime.splitlines()}
    lines = ["# What development needs beside requirements.lock."]
    lines += [x for x in lock(x for x in wanted if _is_installed(x)) if x.partition("==")[0] not in has]
    lines += [x for x in wanted if not _is_installed(x)]
    return "\n".join(lines) + "\n"


def _with_runtime(needed: Dependencies) -> tuple[str, ...]:
    """Return what the project needs with what Bessemer needs to train it, also on storage of clusters."""
    own = ["bessemer[s3]"] if _is_installed("bessemer") else ["torch", "ray", "mlflow-skinny"]
    return tuple(sorted({*needed.lock, *lock(x for x in own if _is_installed(x.partition("[")[0]))}))


def _is_installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
