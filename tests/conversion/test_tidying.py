"""What was composed is brought in shape; an import that is tried stays, whether or not it is used."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from bessemer.conversion.writing.tidying import tidy


def tidied(text: str, folder: Path) -> str:
    (folder / "pyproject.toml").write_text('[tool.ruff.lint]\nselect = ["F", "I"]\n')
    file = folder / "trainer.py"
    file.write_text(dedent(text).lstrip("\n"))
    tidy(folder)
    return file.read_text()


@pytest.mark.parametrize("handler", ["except:", "except Exception:", "except ImportError:"])
def test_an_import_that_asks_what_is_there_stays(handler: str, tmp_path: Path) -> None:
    found = tidied(
        f"""
        import json

        def main():
            import csv
            try:
                import nowhere.to.be.found
                is_there = True
            {handler}
                is_there = False
            return is_there
        """,
        tmp_path,
    )
    namespace: dict[str, object] = {}
    exec(found, namespace)
    assert namespace["main"]() is False  # type: ignore[operator]
    assert "csv" not in found
    assert "json" not in found


def test_imports_in_a_line_with_other_statements_are_no_fault(tmp_path: Path) -> None:
    found = tidied(
        """
        def main():
            try: import zlib, array; has_both = True
            except: has_both = False
            if has_both: from os import sep, curdir; print(sep, curdir)
            return has_both
        """,
        tmp_path,
    )
    namespace: dict[str, object] = {}
    exec(found, namespace)
    assert namespace["main"]() is True  # type: ignore[operator]
