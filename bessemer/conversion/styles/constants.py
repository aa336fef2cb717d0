"""Constants at the top of a program become options: `BATCH_SIZE = 64` is read as `settings.BATCH_SIZE`.

A constant counts if it is a literal, set once, read, and looks like a hyperparameter or a path; at module
level, or at the beginning of the function that the program starts with, before its first loop. In doubt it
stays a constant.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import libcst as cst

from bessemer.conversion.styles.looks import is_hyperparameter, is_path
from bessemer.conversion.styles.setting import Setting, comment_on, kind_of, many_of
from bessemer.conversion.styles.view import View
from bessemer.conversion.syntax import assigned, literal_text, statements


def find_constants(view: View, held: Collection[str]) -> None:
    """Make options of the constants of a program.

    Args:
        view: the program.
        held: names that stay constants.
    """
    if view.reflects():
        return
    taken = view.taken()
    for statement in places(view):
        found = constant(statement)
        if found is None or found[0].value in held or found[0].value.lower() in taken:
            continue
        target, value = found
        name, many = target.value, many_of(value)
        kind = many or kind_of(value)
        if kind is None or not _looks(name, kind, value):
            continue
        reads = view.reads(target)
        if not reads or not all(map(view.can_read, reads)):
            continue
        taken.add(name.lower())
        view.add(
            Setting(
                name,
                kind,
                view.program.code(value),
                comment_on(statement) or f"the constant {name} of the research code",
                statement,
                view.program.code(statement),
                nargs="+" if many else "",
            )
        )
        view.edits.removed.add(statement)
        for use in reads:
            view.edits.replaced[use] = view.read(name)


def constant(statement: cst.BaseStatement) -> tuple[cst.Name, cst.BaseExpression] | None:
    """Return the name and the value of an assignment to one name."""
    pair = assigned(statement)
    if pair is None or len(pair[0]) != 1 or not isinstance(pair[0][0], cst.Name):
        return None
    return pair[0][0], pair[1]


def places(view: View) -> Iterator[cst.BaseStatement]:
    """Yield the statements at module level, then those of the entry function up to its first loop."""
    yield from view.lines()
    main = view.main()
    if main is not None:
        for statement in statements(main.body):
            if isinstance(statement, cst.For | cst.While):
                return
            yield statement


def _looks(name: str, kind: str, value: cst.BaseExpression) -> bool:
    text = literal_text(value)
    return is_hyperparameter(name, kind) or (text is not None and is_path(name, text))
