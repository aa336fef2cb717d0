"""Runs ranges of items as tasks of Ray, each of which writes its shards and returns a record.

Tasks of Ray itself, not of Ray Data: no rows travel between them, and Ray Data lets a processor wait
between two (eight tasks of one second on two processors: 5.6 s, and 4.0 s here).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import ray

from bessemer.data.shipping import Packed
from bessemer.data.stream import first_cause

Range = tuple[int, int, int]
DoRange = Callable[[int, int, int, Packed, Any], str]

# More than run at once, so that no processor waits, and that a cluster that grows sees that it should.
_WAITING_PER_CPU = 2


def on_ray(ranges: Sequence[Range], packed: Packed, shared: Any, do: DoRange) -> Iterator[tuple[int, str]]:
    """Do each range once, as many at a time as there are CPUs; yield (number, record) as they are done.

    A task whose worker or node dies is done again by Ray.

    Args:
        ranges: (number, first item, end).
        packed: the items.
        shared: what every task needs.
        do: does one.

    Raises:
        BessemerError: the first that a task raised; what other tasks have written stays.
    """
    common = ray.put((packed, shared))
    task = ray.remote(_do_range).options(num_cpus=1)
    left, numbers = list(ranges)[::-1], dict[Any, int]()
    try:
        while left or numbers:
            wanted = int(_WAITING_PER_CPU * max(1.0, ray.cluster_resources().get("CPU", 1.0)))
            while left and len(numbers) < wanted:
                number, start, stop = left.pop()
                numbers[task.remote(number, start, stop, common, do)] = number
            done, _ = ray.wait(list(numbers))
            for reference in done:
                yield numbers.pop(reference), ray.get(reference)
    except Exception as error:
        raise first_cause(error) from error
    finally:
        for reference in numbers:
            with contextlib.suppress(Exception):
                ray.cancel(reference)


def _do_range(number: int, start: int, stop: int, common: tuple[Packed, Any], do: DoRange) -> str:
    packed, shared = common
    return do(number, start, stop, packed, shared)
