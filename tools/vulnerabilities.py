"""Look up what is known against the packages of lock files, with pip-audit.

The exit status is 0 if nothing is known that pyproject.toml does not accept, 1 if something is, and 2 if that
could not be found out: pip-audit itself passes over a package that its service does not know.
"""

from __future__ import annotations

import argparse
import datetime
import json
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Asked in turn: the second only if the first cannot answer for every package.
_SERVICES = ("pypi", "osv")
_ANSWERS_WITHIN_S = 15
_LIMIT_S = 900
_NUM_SHOWN = 5


@dataclass(frozen=True)
class Known:
    """What is known against a package.

    Attributes:
        package: name and version.
        names: its identifiers, the first of which is shown.
        fixed_in: versions without it, which may be none.
    """

    package: str
    names: tuple[str, ...]
    fixed_in: tuple[str, ...]


@dataclass(frozen=True)
class Answer:
    """What a service said.

    Attributes:
        num_packages: those that were asked for (count).
        known: what is known against them.
        unknown: packages that it could not look up.
        trouble: why it did not answer at all, or "".
    """

    num_packages: int = 0
    known: tuple[Known, ...] = ()
    unknown: tuple[str, ...] = ()
    trouble: str = ""

    @property
    def is_whole(self) -> bool:
        """Whether every package was looked up."""
        return bool(self.num_packages) and not self.unknown and not self.trouble


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("locks", nargs="+", help="lock files")
    parser.add_argument("--pip-audit", default="pip-audit", help="the program")
    parser.add_argument("--settings", default="pyproject.toml", help="file with [tool.bessemer.audit]")
    given = parser.parse_args(arguments)
    reasons = accepted(Path(given.settings))
    answers = []
    for service in _SERVICES:
        answers.append(ask(given.pip_audit, service, given.locks))
        if answers[-1].is_whole:
            break
    # Of several, each knows something: what one of them says against a package holds.
    known = {(x.package, x.names[0]): x for answer in answers for x in answer.known}.values()
    bad = [x for x in known if not reasons.keys() & set(x.names)]
    for x in known:
        why = next((reasons[name] for name in x.names if name in reasons), "")
        fixed = f"fixed in {', '.join(x.fixed_in)}" if x.fixed_in else "no version without it"
        print(f"{x.package}: {x.names[0]}, {f'accepted: {why}' if why else fixed}")
    if answers[-1].is_whole:
        for name in sorted(reasons.keys() - {y for x in known for y in x.names}):
            print(f"{name} is accepted, but not found any more: remove it from {given.settings}")
        print(f"{answers[-1].num_packages} packages looked up, {len(bad)} known vulnerabilities")
        return 1 if bad else 0
    for service, answer in zip(_SERVICES, answers, strict=True):
        print(f"{service}: {_trouble(answer)}", file=sys.stderr)
    print("error: known vulnerabilities could not be looked up", file=sys.stderr)
    return 1 if bad else 2


def accepted(file: Path) -> dict[str, str]:
    """Return why a vulnerability is accepted, by its identifier.

    Raises:
        SystemExit: an entry has no reason, or no date.
    """
    table = tomllib.loads(file.read_text(encoding="utf-8")).get("tool", {}).get("bessemer", {})
    reasons = {}
    for entry in table.get("audit", {}).get("accepted", []):
        name, date, reason = entry.get("id"), entry.get("date"), entry.get("reason")
        if not (name and reason and isinstance(date, datetime.date)):
            print(f"error: {file}: accepted needs id, date and reason: {entry}", file=sys.stderr)
            raise SystemExit(2)
        reasons[str(name)] = f"{reason} ({date})"
    return reasons


def ask(pip_audit: str, service: str, locks: Sequence[str]) -> Answer:
    """Ask a service for all packages of some lock files."""
    # The files name every package, so that nothing has to be resolved or installed.
    command = [pip_audit, "--no-deps", "--disable-pip", "--progress-spinner", "off", "--format", "json"]
    command += ["--aliases", "on", "--vulnerability-service", service, "--timeout", str(_ANSWERS_WITHIN_S)]
    answers: list[Answer] = []
    for lock in locks:
        # One at a time: it takes no two versions of a package, and pip-audit has an environment of its own.
        answers.append(_run([*command, "--requirement", lock]))
        if answers[-1].trouble:
            break
    return Answer(
        num_packages=sum(x.num_packages for x in answers),
        known=tuple(known for x in answers for known in x.known),
        unknown=tuple(name for x in answers for name in x.unknown),
        trouble=answers[-1].trouble,
    )


def _run(command: Sequence[str]) -> Answer:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT_S, check=False)
    except OSError as error:
        return Answer(trouble=f"{command[0]} does not run: {error.strerror}")
    except subprocess.TimeoutExpired:
        return Answer(trouble=f"no answer after {_LIMIT_S} s")
    try:
        return _read(json.loads(done.stdout))
    except (ValueError, KeyError, TypeError):
        last = done.stderr.strip().splitlines()[-1:] or ["it printed nothing"]
        return Answer(trouble=f"pip-audit ended with status {done.returncode}: {last[0]}")


def _read(report: Any) -> Answer:
    packages = report["dependencies"]
    known = [
        Known(
            f"{package['name']} {package['version']}",
            (vulnerability["id"], *vulnerability.get("aliases", ())),
            tuple(vulnerability.get("fix_versions", ())),
        )
        for package in packages
        for vulnerability in package.get("vulns", ())
    ]
    unknown = tuple(package["name"] for package in packages if "skip_reason" in package)
    return Answer(len(packages), tuple(known), unknown)


def _trouble(answer: Answer) -> str:
    if answer.trouble:
        return answer.trouble
    if not answer.num_packages:
        return "no package was asked for"
    shown = ", ".join(answer.unknown[:_NUM_SHOWN])
    more = ", ..." if len(answer.unknown) > _NUM_SHOWN else ""
    return f"knows nothing of {len(answer.unknown)} of {answer.num_packages} packages ({shown}{more})"


if __name__ == "__main__":
    sys.exit(main())
