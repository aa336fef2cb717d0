"""The way of a restart to where its checkpoint was taken: moments that are put back, and the arrival.

`replay` says what a program that runs again meets; this does it to a session.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bessemer.data.iteration import LoaderPass
from bessemer.training.recovery import generator_states, restore_generators
from bessemer.training.replay import Done, Moment, copied
from bessemer.training.snapshots import restore

if TYPE_CHECKING:
    from bessemer.training.session import Session


def moment_of(session: Session) -> Moment:
    """Return what draws and decisions after this moment depend on."""
    return Moment(
        dict(session.created.counts),
        generator_states(),
        {number: copied(values.state_dict()) for number, values in session.values.items()},
        {number: loader.state_dict() for number, loader in session.loaders.items()},
    )


def put_back(session: Session, moment: Moment) -> None:
    """Go on as if it were that moment."""
    session.created.counts = dict(moment.created)
    for number, state in moment.loaders.items():
        if number in session.loaders:
            session.loaders[number].load_state_dict(state)
    for number, state in moment.values.items():
        if number in session.values:
            session.values[number].load_state_dict(copied(state))
    restore_generators(moment.generators)


def pass_over(session: Session, done: Done) -> None:
    """Put back the moment after something that was complete at the checkpoint."""
    put_back(session, done.after)
    session.replay.frames[-1].done.append(done)
    if session.replay.program_was_complete:
        # All that the program does from here on was done and said before.
        arrive(session, None)
        session.outlet.muted = session.given.mode == "train"


def arrive(session: Session, entered: LoaderPass[Any] | None) -> None:
    """Overwrite everything with the checkpoint.

    Args:
        session: of this worker; the checkpoint that it resumes from is used up.
        entered: the loop over a loader that the checkpoint was taken in, or None between turns.
    """
    state = session.resume
    assert state is not None
    session.replay.arrived()
    restore(session, state, entered)
    session.given.stopwatch.restored(session.hooks.step)
    session.schedule.taken(session.hooks.step)
    session.step_between = session.hooks.step
    session.outlet.muted = False
    session.resumes_in_turn = state["active"] is not None
    session.resume = None
    session.given.observer.arrived(session)
