"""What rendered documents are made of, and how they become text."""

from __future__ import annotations

from collections.abc import Iterable

import yaml
from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

RENDERED = "Written by `bessemer cluster render` from settings: change those, and render again."

_WIDTH = 110
_UNITS = ((2**30, "Gi"), (2**20, "Mi"), (2**10, "Ki"))


class Fields(BaseModel):
    """A part of a document, with no field that is not known."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class CamelFields(Fields):
    """A part of a Kubernetes document, whose names are `writtenLikeThis`."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


def document(header: str, parts: Iterable[Fields]) -> str:
    """Return the text of a YAML file.

    Args:
        header: what stands above as a comment, a line each.
        parts: its documents.
    """
    # Each tree is made of new parts, so none is written as a reference to another.
    comment = "".join(f"# {line}".rstrip() + "\n" for line in header.splitlines())
    trees = [part.model_dump(by_alias=True, exclude_none=True, mode="json") for part in parts]
    texts = [yaml.safe_dump(tree, sort_keys=False, width=_WIDTH) for tree in trees]
    return comment + "---\n".join(texts)


def quantity(size_bytes: int) -> str:
    """Return a size as Kubernetes writes it.

    >>> quantity(3 * 2**29), quantity(1000)
    ('1536Mi', '1000')
    """
    for unit, name in _UNITS:
        if size_bytes % unit == 0:
            return f"{size_bytes // unit}{name}"
    return str(size_bytes)
