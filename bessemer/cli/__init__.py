"""The command line: verbs only. What a verb does lives elsewhere and is imported when it is called."""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import threading
from typing import Annotated, NoReturn

import typer

from bessemer.cli import (
    cluster,
    conversion,
    data,
    everything,
    judgement,
    machine,
    observation,
    proof,
    remote,
    search,
    training,
)
from bessemer.cli.common import NEWEST

__all__ = ["app", "entry"]

_STOPPED = 130

app = typer.Typer(
    name="bessemer",
    help="Turn research training code into production training on Ray.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for _verbs in (
    *(conversion.verbs, proof.verbs, everything.verbs, training.verbs, search.verbs),
    *(observation.verbs, judgement.verbs, data.verbs, machine.verbs, cluster.verbs, remote.verbs),
):
    app.add_typer(_verbs)


@app.callback()
def main(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
) -> None:
    """Turn research training code into production training on Ray."""
    if debug:
        os.environ["BESSEMER_DEBUG"] = "1"


def _with_resumed_run(arguments: list[str]) -> list[str]:
    """Give --resume its value where it stands alone: the option parser knows no optional values."""
    given = list(arguments)
    if "--resume" in given:
        place = given.index("--resume")
        if place + 1 == len(given) or given[place + 1].startswith("-"):
            given.insert(place + 1, NEWEST)
    return given


def entry(arguments: list[str] | None = None) -> int:
    """Run the command line; errors become one message and an exit status.

    As the command of a process of its own (without `arguments`) it ends that process, once Ray or torch
    were loaded.

    Returns:
        0 if all went well, 1 for a failure, 2 for a mistake of the user's, 130 after Ctrl-C.
    """
    status = _run(arguments)
    if arguments is None and "torch" in sys.modules:
        leave(status)
    return status


def leave(status: int) -> NoReturn:
    """End the process after what Python does at exit, without taking the interpreter apart.

    Ray leaves threads of gRPC behind it, and one has been seen to crash while their memory was freed, after
    all work was done. Threads are waited for and exit functions are run, as when a forked process of
    `multiprocessing` ends.
    """
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    with contextlib.suppress(OSError):  # whoever read has gone
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)


def _run(arguments: list[str] | None) -> int:
    from bessemer.errors import BessemerError

    try:
        status = app(
            args=_with_resumed_run(sys.argv[1:] if arguments is None else arguments), standalone_mode=False
        )
        if status == _STOPPED:  # what the option parser makes of Ctrl-C
            raise KeyboardInterrupt
        return status if isinstance(status, int) else 0
    except BessemerError as error:
        if os.environ.get("BESSEMER_DEBUG"):
            raise
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return _STOPPED
    except typer.Exit as leaving:
        return leaving.exit_code
    except typer.Abort:
        print("stopped", file=sys.stderr)
        return _STOPPED
    except Exception as error:
        show = getattr(error, "show", None)  # a usage error of the option parser
        if show is None or not hasattr(error, "exit_code"):
            raise
        show()
        return int(error.exit_code)
