"""Runs ranges of items as tasks of Ray Data, each of which writes its shards and returns a record."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import ray
import ray.data

from bessemer.data.shipping import Packed
from bessemer.data.stream import first_cause

Range = tuple[int, int, int]
DoRange = Callable[[int, int, int, Packed, Any], str]


def on_ray(ranges: Sequence[Range], packed: Packed, shared: Any, do: DoRange) -> Iterator[tuple[int, str]]:
    """Do each range once, as many at a time as there are CPUs; yield (number, record) as they are done.

    Args:
        ranges: (number, first item, end).
        packed: the items.
        shared: what every task needs.
        do: does one.

    Raises:
        BessemerError: the first that a task raised; what other tasks have written stays.
    """
    # Ray Data tells of each execution; here that would stand in a bar.
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    common = ray.put((packed, shared))
    source = ray.data.from_items(
        [{"number": number, "start": start, "stop": stop} for number, start, stop in ranges],
        override_num_blocks=len(ranges),
    )
    source.context.enable_progress_bars = False
    done = source.map(_do_row, fn_args=(common, do), num_cpus=1)
    try:
        for row in done.iter_rows():
            yield row["number"], row["record"]
    except Exception as error:
        raise first_cause(error) from error


def _do_row(row: dict[str, Any], common: ray.ObjectRef[Any], do: DoRange) -> dict[str, Any]:
    packed, shared = ray.get(common)
    return {
        "number": row["number"],
        "record": do(row["number"], row["start"], row["stop"], packed, shared),
    }
