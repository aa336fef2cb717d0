"""What leaves the program as a file: `torch.save(...)` becomes `run.save(...)`.

It is written once, by the main worker, into the run's folder. Loading the same file again reads it from
there; a figure that is saved or shown becomes `run.figure(...)`. What was shown is closed, as its window was.
"""

from __future__ import annotations

from collections.abc import Iterable

import libcst as cst

from bessemer.conversion.analysis import Analysis
from bessemer.conversion.rewrites.base import Case, LeftStatement, Rewriter
from bessemer.conversion.syntax import argument, assigned, small, walk

_SAVE, _LOAD = "torch.save", "torch.load"
_COPIES = frozenset({"shutil.copyfile", "shutil.copy", "shutil.copy2"})
_FIGURE, _SHOW = "matplotlib.pyplot.savefig", "matplotlib.pyplot.show"
# At which place, or by which name, library functions take the path that they write to.
_PATHS = {
    "torchvision.utils.save_image": (1, "fp"),
    "numpy.save": (0, "file"),
    "numpy.savez": (0, "file"),
    "numpy.savez_compressed": (0, "file"),
    "numpy.savetxt": (0, "fname"),
    "matplotlib.pyplot.imsave": (0, "fname"),
    "matplotlib.image.imsave": (0, "fname"),
    "imageio.imwrite": (0, "uri"),
    "imageio.imsave": (0, "uri"),
    "imageio.mimsave": (0, "uri"),
    "scipy.io.wavfile.write": (0, "filename"),
    "torchaudio.save": (0, "uri"),
    "torch.jit.save": (1, "f"),
}
# Done by every worker, in the same place, and known to nobody afterwards.
_LEFT = {
    "pickle.dump": "writes a file",
    "json.dump": "writes a file",
    "os.makedirs": "makes a folder",
    "os.mkdir": "makes a folder",
}


class SavingRewriter(Rewriter):
    """Takes hold of files that a program writes."""

    kind = "saving"
    TITLE = "What leaves the program: files"

    def __init__(self, analysis: Analysis) -> None:
        super().__init__(analysis)
        calls = [x for f in analysis.script.callables for x in walk(f, cst.Call)]
        self._saves = {x for x in calls if self._name(x) == _SAVE and self._is_simple(x)}
        paths = [call.args[1].value for call in self._saves]
        self._loads = {
            x
            for x in calls
            if self._name(x) == _LOAD and x.args and any(x.args[0].value.deep_equals(path) for path in paths)
        }
        self._copies = {
            x
            for x in calls
            if self._name(x) in _COPIES
            and len(x.args) == 2
            and any(x.args[0].value.deep_equals(path) for path in paths)
        }
        self._figures = {x for x in calls if self._name(x) == _FIGURE and len(x.args) >= 1}
        self._shown = [x for x in calls if self._name(x) == _SHOW]
        self._written: dict[cst.Arg, cst.Call] = {}
        for call in calls:
            name = self._name(call) or ""
            if name in _PATHS:
                self._find_path(call, *_PATHS[name])
            elif name in _LEFT:
                self.leave_out(call, f"{_LEFT[name]}, from every worker, outside of the run's folder")
            elif name == _SAVE and call not in self._saves:
                self.leave_out(call, "saves to an open file or with options of its own")
            elif name == "builtins.open" and self._writes(call):
                self.leave_out(call, "opens a file to write it, on every worker")

    def _name(self, call: cst.Call) -> str | None:
        return self.program.imported(call.func)

    def _is_simple(self, call: cst.Call) -> bool:
        if len(call.args) != 2 or any(arg.keyword or arg.star for arg in call.args):
            return False
        path = call.args[1].value
        bound = self.program.bindings(path) if isinstance(path, cst.Name) else ()
        return not any(self.program.enclosing(x, cst.WithItem, cst.Assign) for x in bound) or all(
            self.program.enclosing(x, cst.WithItem) is None for x in bound
        )

    def _find_path(self, call: cst.Call, place: int, name: str) -> None:
        """Note the argument that is the path of a file; one that is read again elsewhere stays as it is."""
        path = argument(call, name, place)
        arg = next((x for x in call.args if x.value is path), None)
        if path is None or arg is None or self._is_open_file(path):
            return
        text = self.program.code(path)
        others = (x for x in walk(self.program.module, cst.Arg) if x is not arg)
        if any(self.program.code(x.value) == text for x in others):
            self.leave_out(call, "writes a file that is used elsewhere, from every worker")
        else:
            self._written[arg] = call

    def _is_open_file(self, node: cst.BaseExpression) -> bool:
        if isinstance(node, cst.Call):
            return self._name(node) == "builtins.open"
        bound = self.program.bindings(node) if isinstance(node, cst.Name) else ()
        made = [assigned(self.program.statement(x)) for x in bound]
        opened = any(x is not None and isinstance(x[1], cst.Call) and self._is_open_file(x[1]) for x in made)
        return opened or any(self.program.enclosing(x, cst.AsName) is not None for x in bound)

    def _writes(self, call: cst.Call) -> bool:
        mode = call.args[1].value if len(call.args) > 1 else None
        text = self.program.code(mode) if mode is not None else ""
        return any(letter in text for letter in "wax")

    def run_uses(self) -> Iterable[cst.CSTNode]:
        """Every file that is saved, or loaded from where one was saved."""
        return [*self._saves, *self._loads, *self._copies, *self._figures, *self._shown, *self._written]

    def leave_Arg(self, original_node: cst.Arg, updated_node: cst.Arg) -> cst.Arg:
        """Have a library function write into the run's folder."""
        if original_node not in self._written:
            return updated_node
        changed = updated_node.with_changes(value=self.call_run("path", [cst.Arg(updated_node.value)]))
        where = self._written[original_node]
        before = self.program.code(original_node.value)
        self.note(where, changed.value, "written once, into the run's folder, and recorded", before=before)
        return changed

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.BaseExpression:
        """Save into, and load from, the run's folder."""
        if original_node in self._saves:
            changed = updated_node.with_changes(func=self.on_run("save"))
            self.note(original_node, changed, "written once, by the main worker, and recorded")
            return changed
        if original_node in self._loads:
            first = updated_node.args[0]
            path = self.call_run("saved", [cst.Arg(first.value)])
            args = [first.with_changes(value=path), *updated_node.args[1:]]
            changed = updated_node.with_changes(args=args)
            self.note(original_node, changed, "the file that run.save wrote")
            return changed
        if original_node in self._copies:
            changed = updated_node.with_changes(func=self.on_run("copy"))
            self.note(original_node, changed, "the file that run.save wrote")
            return changed
        if original_node in self._figures:
            figure = cst.Call(_replaced_last(updated_node.func, "gcf"))
            name = updated_node.args[0].with_changes(comma=cst.MaybeSentinel.DEFAULT)
            changed = self.call_run("figure", [cst.Arg(figure), name])
            self.note(original_node, changed, "kept with the run")
            return changed
        if original_node in self._shown:
            text = cst.SimpleString(f'"figure-{self._shown.index(original_node) + 1}.png"')
            figure = cst.Call(_replaced_last(updated_node.func, "gcf"))
            changed = self.call_run("figure", [cst.Arg(figure), cst.Arg(text)])
            self.note(original_node, changed, "kept with the run, where nobody looks at a screen")
            return changed
        return updated_node

    def leave_SimpleStatementLine(
        self, original_node: cst.SimpleStatementLine, updated_node: cst.SimpleStatementLine
    ) -> LeftStatement:
        """Close a figure that was shown."""
        inner = small(original_node)
        if not (isinstance(inner, cst.Expr) and inner.value in self._shown):
            return updated_node
        shown = cst.ensure_type(inner.value, cst.Call)
        close = cst.Expr(cst.Call(_replaced_last(shown.func, "close")))
        return cst.FlattenSentinel([updated_node, cst.SimpleStatementLine([close])])


def _replaced_last(func: cst.BaseExpression, name: str) -> cst.BaseExpression:
    if isinstance(func, cst.Attribute):
        return func.with_changes(attr=cst.Name(name))
    return cst.parse_expression(f"matplotlib.pyplot.{name}")


CASES = (
    Case(
        "weights go into the run's folder, and come back from it",
        """
        import shutil
        import torch
        def main(model):
            torch.save(model.state_dict(), "best.pt")
            shutil.copyfile("best.pt", "last.pt")
            model.load_state_dict(torch.load("best.pt", weights_only=True))
            other = torch.load("pretrained.pt")
        """,
        """
        import shutil
        import torch
        def main(model):
            run.save(model.state_dict(), "best.pt")
            run.copy("best.pt", "last.pt")
            model.load_state_dict(torch.load(run.saved("best.pt"), weights_only=True))
            other = torch.load("pretrained.pt")
        """,
    ),
    Case(
        "a figure is kept with the run",
        """
        import matplotlib.pyplot as plt
        def main(losses):
            plt.plot(losses)
            plt.savefig("loss.png", dpi=200)
        """,
        """
        import matplotlib.pyplot as plt
        def main(losses):
            plt.plot(losses)
            run.figure(plt.gcf(), "loss.png")
        """,
    ),
    Case(
        "a figure that is shown is kept as well",
        """
        import matplotlib.pyplot as plt
        def main(losses):
            plt.plot(losses)
            plt.show()
        """,
        """
        import matplotlib.pyplot as plt
        def main(losses):
            plt.plot(losses)
            run.figure(plt.gcf(), "figure-1.png")
            plt.close()
        """,
    ),
    Case(
        "what library functions write is kept with the run",
        """
        import numpy as np
        from torchvision.utils import save_image
        def main(images, losses, epoch, name):
            save_image(images, f"samples/{epoch}.png", nrow=8)
            np.save(file="losses.npy", arr=losses)
            with open("raw.npy", "wb") as file:
                np.save(file, losses)
            np.savetxt(name, losses)
            print(np.loadtxt(name))
        """,
        """
        import numpy as np
        from torchvision.utils import save_image
        def main(images, losses, epoch, name):
            save_image(images, run.path(f"samples/{epoch}.png"), nrow=8)
            np.save(file=run.path("losses.npy"), arr=losses)
            with open("raw.npy", "wb") as file:
                np.save(file, losses)
            np.savetxt(name, losses)
            print(np.loadtxt(name))
        """,
    ),
    Case(
        "an open file is the program's own",
        """
        import torch
        def main(model):
            with open("a.pt", "wb") as file:
                torch.save(model, file)
        """,
        None,
    ),
)
