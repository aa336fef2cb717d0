"""Places of data, where data are read, become options: `MNIST("../data")`, `read_csv("x.csv")`.

One option for each place, however often it is written: `data_dir` for folders, `data_file` for files.
"""

from __future__ import annotations

from collections.abc import Collection

import libcst as cst

from bessemer.conversion.styles.setting import Setting
from bessemer.conversion.styles.view import View
from bessemer.conversion.syntax import argument, fresh_name, literal_text, walk

_FOLDERS = ("torchvision.datasets.", "torchaudio.datasets.", "torchtext.datasets.")
_FILES = {
    "pandas.read_csv": "filepath_or_buffer",
    "pandas.read_parquet": "path",
    "numpy.load": "file",
    "numpy.loadtxt": "fname",
    "numpy.genfromtxt": "fname",
    "scipy.io.loadmat": "file_name",
}


def find_locations(view: View, held: Collection[str]) -> None:
    """Make options of the places of data that stand in calls which read them.

    Args:
        view: the program.
        held: names of options that stay literals.
    """
    taken = view.taken()
    names: dict[tuple[str, str], str] = {}
    for call in walk(view.program.module, cst.Call):
        reader = view.program.imported(call.func) or ""
        node, wanted = None, "data_dir"
        if reader.startswith(_FOLDERS) and not reader.endswith("FakeData"):
            node = argument(call, "root", 0)
        elif reader in _FILES:
            node, wanted = argument(call, _FILES[reader], 0), "data_file"
        text = literal_text(node)
        if node is None or not text or "://" in text or not view.can_read(node):
            continue
        known = (wanted, text)
        if known not in names:
            names[known] = fresh_name([wanted], {*taken, *names.values()})
            if names[known] not in held:
                what = "folder" if wanted == "data_dir" else "file"
                view.add(
                    Setting(
                        names[known],
                        "str",
                        view.program.code(node),
                        f"{what} that {reader.rpartition('.')[2]} reads",
                        call,
                        view.program.code(call),
                    )
                )
        if names[known] not in held:
            view.edits.replaced[node] = view.read(names[known])
