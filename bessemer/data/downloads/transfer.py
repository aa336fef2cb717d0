"""One file from one place, however often the connection breaks.

The bytes go to a `Part`. A connection that breaks is asked again, with longer and longer pauses, for the rest
of the same file; whatever gets further starts the counting anew, so a long file over a bad line arrives.
"""

from __future__ import annotations

import math
import random
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tenacity import RetryCallState, Retrying, retry_if_exception

from bessemer.data.downloads.addresses import digest_of
from bessemer.data.downloads.part import Origin, Part
from bessemer.data.downloads.remote import Answer, PlaceError, opened
from bessemer.data.downloads.report import StoppedError

# What counts as getting further: less could go on for ever.
_LEAST_PROGRESS_BYTES = 2**16
_LEAST_PROGRESS_FRACTION = 0.01
# What is left free on the disk: other processes write there too.
_SPARE_BYTES = 16 * 2**20
# Of its own: a program's seeds decide nothing here, and nothing here moves its generators.
_CHANCE = random.Random()  # nosec B311  # spreads pauses


@dataclass(frozen=True)
class Patience:
    """How long a place is borne with.

    Attributes:
        num_tries: times in a row without getting further (count).
        first_wait_s, longest_wait_s: pauses between them, which double (seconds).
        longest_asked_s: longest pause that a server may ask for (seconds).
        silence_s: after which a connection counts as broken (seconds).
    """

    num_tries: int = 6
    first_wait_s: float = 0.5
    longest_wait_s: float = 30.0
    longest_asked_s: float = 300.0
    silence_s: float = 30.0


@dataclass(frozen=True)
class Transferred:
    """How a file came.

    Attributes:
        num_received_bytes: bytes that came over the line, those that came twice too.
        num_resumed: times that it was gone on with in the middle (count).
    """

    num_received_bytes: int
    num_resumed: int


class Transfer:
    """Fetches a file from one place.

    Args:
        address: of the file.
        part: what it is put into.
        is_sure: whether a checksum tells in the end that the parts belong together.
        patience: with the place.
        stop: ends it, at the next block.
        on_progress: called with (bytes here, bytes of the whole file or None).
        say: tells the user that something went wrong and is tried again.
    """

    def __init__(
        self,
        address: str,
        part: Part,
        is_sure: bool,
        patience: Patience,
        stop: threading.Event,
        on_progress: Callable[[int, int | None], None],
        say: Callable[[str], None],
    ) -> None:
        self._address = address
        self._part = part
        self._is_sure = is_sure
        self._patience = patience
        self._stop = stop
        self._on_progress = on_progress
        self._say = say
        self._furthest = part.num_bytes if part.is_of(address) else 0
        self._num_failed = 0
        self._num_received = 0
        self._num_resumed = 0

    def run(self) -> Transferred:
        """Fetch the file into the part.

        Raises:
            PlaceError: the place does not give it.
            StoppedError: it was asked to stop.
            OSError: it cannot be written.
        """
        retrying = Retrying(
            retry=retry_if_exception(lambda error: isinstance(error, PlaceError) and error.passes),
            after=self._count,
            stop=self._is_hopeless,
            wait=self._pause_s,
            sleep=self._sleep,
            before_sleep=self._tell,
            reraise=True,
        )
        retrying(self._once)
        return Transferred(self._num_received, self._num_resumed)

    def _once(self) -> None:
        part = self._part
        known = part.origin if part.is_of(self._address) else None
        if known is not None and part.is_whole and part.num_bytes:
            return  # it ended between its last byte and its name
        can_resume = known is not None and (known.validator != "" or self._is_sure)
        offset = part.num_bytes if can_resume else 0
        if known is not None and known.num_bytes is not None and offset > known.num_bytes:
            offset = 0
        validator = known.validator if known is not None and offset else ""
        try:
            with opened(self._address, offset, validator, self._patience.silence_s) as answer:
                if answer.offset:
                    _check_same(part, answer)
                    self._num_resumed += 1
                else:
                    part.begin(Origin(digest_of(self._address), answer.validator, answer.num_bytes))
                size = part.origin.num_bytes if part.origin is not None else None
                _check_room(part.path.parent, (size or 0) - part.num_bytes)
                self._on_progress(part.num_bytes, size)
                for block in answer.blocks:
                    self._take(block, size)
        except PlaceError as error:
            if error.is_from_start:
                part.begin(Origin(digest_of(self._address)))
            raise
        size = part.origin.num_bytes if part.origin is not None else None
        if size is not None and part.num_bytes < size:
            raise PlaceError(f"it ended after {part.num_bytes:,} of {size:,} bytes", passes=True)

    def _take(self, block: bytes, size: int | None) -> None:
        if self._stop.is_set():
            raise StoppedError
        self._part.append(block)
        self._num_received += len(block)
        if size is not None and self._part.num_bytes > size:
            raise PlaceError(
                f"it sends more than the {size:,} bytes that it said the file has", is_from_start=True
            )
        least = min(_LEAST_PROGRESS_BYTES, _LEAST_PROGRESS_FRACTION * (size or math.inf))
        if self._part.num_bytes > self._furthest + least:
            self._furthest = self._part.num_bytes
            self._num_failed = 0
        self._on_progress(self._part.num_bytes, size)

    def _count(self, _state: RetryCallState) -> None:
        self._num_failed += 1

    def _is_hopeless(self, state: RetryCallState) -> bool:
        patience = self._patience
        return self._num_failed >= patience.num_tries or _asked_s(state) > patience.longest_asked_s

    def _pause_s(self, state: RetryCallState) -> float:
        patience = self._patience
        pause_s = min(patience.first_wait_s * 2.0 ** (self._num_failed - 1), patience.longest_wait_s)
        return max(pause_s * _CHANCE.uniform(0.75, 1.25), _asked_s(state))

    def _sleep(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise StoppedError

    def _tell(self, state: RetryCallState) -> None:
        error = _error_of(state)
        if error is not None:
            pause = state.next_action.sleep if state.next_action is not None else 0.0
            self._say(f"{error.reason}; asked again in {pause:.1f} s")


def _error_of(state: RetryCallState) -> PlaceError | None:
    error = state.outcome.exception() if state.outcome is not None else None
    return error if isinstance(error, PlaceError) else None


def _asked_s(state: RetryCallState) -> float:
    error = _error_of(state)
    return error.wait_s if error is not None else 0.0


def _check_same(part: Part, answer: Answer) -> None:
    known = part.origin.num_bytes if part.origin is not None else None
    if None not in (known, answer.num_bytes) and known != answer.num_bytes:
        raise PlaceError("the file has another size now", passes=True, is_from_start=True)


def _check_room(folder: Path, num_needed: int) -> None:
    """See that a file has room.

    Raises:
        OSError: it has not.
    """
    try:
        free = shutil.disk_usage(folder).free
    except OSError:
        return  # not every file system says; writing will show
    if num_needed > 0 and num_needed + _SPARE_BYTES > free:
        raise OSError(f"{num_needed:,} bytes are to come, and {free:,} are free in {folder}")
