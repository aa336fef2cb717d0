"""`DataLoader(...)` becomes `run.loader(...)`, and `enumerate(loader)` becomes `loader.enumerate()`.

The arguments stay what they were, `batch_size` included: it is the global batch. Counting goes
through the loader, because after a restart in the middle of an epoch `enumerate` would begin at 0.
"""

from __future__ import annotations

from collections.abc import Iterable

import libcst as cst

from bessemer.conversion.loops import LoaderLoop
from bessemer.conversion.rewrites.base import Case, Rewriter, plain_args
from bessemer.conversion.syntax import walk

_DATA_LOADER = "torch.utils.data.DataLoader"


class LoaderRewriter(Rewriter):
    """Takes hold of the batch iterators."""

    kind = "loader"
    TITLE = "The batch iterator"

    def _is_loader(self, call: cst.Call) -> bool:
        return self.program.imported(call.func) == _DATA_LOADER

    def run_uses(self) -> Iterable[cst.CSTNode]:
        """Every construction of a loader."""
        return [x for x in walk(self.program.module, cst.Call) if self._is_loader(x)]

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.BaseExpression:
        """Replace the constructor; the arguments stay."""
        if not self._is_loader(original_node):
            return updated_node
        changed = updated_node.with_changes(func=self.on_run("loader"))
        reason = "batches are sharded, streamed and found again after a restart"
        whole = self.analysis.state.whole.get(original_node)
        if whole is not None:
            shard = cst.Arg(
                cst.Name("False"),
                keyword=cst.Name("shard"),
                equal=cst.AssignEqual(cst.SimpleWhitespace(""), cst.SimpleWhitespace("")),
            )
            args = list(changed.args)
            if args and isinstance(args[-1].comma, cst.MaybeSentinel):
                args[-1] = args[-1].with_changes(comma=cst.Comma(whitespace_after=cst.SimpleWhitespace(" ")))
            changed = changed.with_changes(args=[*args, shard])
            reason = f"every worker sees whole batches: {whole}"
        self.note(original_node, changed, reason)
        return changed

    def leave_For(self, original_node: cst.For, updated_node: cst.For) -> cst.BaseStatement:
        """Count through the loader, and leave the progress bar to it."""
        loop = self.analysis.training.of(original_node)
        if loop is None or (loop.counter is None and loop.bar is None):
            return updated_node
        loader = _inside(updated_node.iter, original_node.iter, loop)
        source = loader
        if loop.counter is not None:
            source = cst.Call(cst.Attribute(loader, cst.Name("enumerate")), plain_args(loop.counter.args[1:]))
        reason = "the count goes on where it was after a restart"
        if loop.bar is not None:
            reason = "loaders show their own progress" if loop.counter is None else reason
        self.note(original_node.iter, source, reason)
        return updated_node.with_changes(iter=source)


def _inside(
    updated: cst.BaseExpression, original: cst.BaseExpression, loop: LoaderLoop
) -> cst.BaseExpression:
    """Return the loader inside `enumerate(...)` and bars, as it is after other rewrites."""
    while original is not loop.loader:
        original = cst.ensure_type(original, cst.Call).args[0].value
        updated = cst.ensure_type(updated, cst.Call).args[0].value
    return updated


CASES = (
    Case(
        "the constructor changes, its arguments do not",
        """
        from torch.utils.data import DataLoader
        def main():
            loader = DataLoader(dataset, batch_size=64, **options)
            for i, batch in enumerate(loader, 1):
                print(i)
        """,
        """
        from torch.utils.data import DataLoader
        def main():
            loader = run.loader(dataset, batch_size=64, **options)
            for i, batch in loader.enumerate(1):
                print(i)
        """,
    ),
    Case(
        "the full name and other spellings mean the same",
        """
        import torch.utils.data as data
        from tqdm import tqdm
        def main():
            loader = data.DataLoader(dataset)
            for batch in tqdm(loader, desc="training"):
                pass
        """,
        """
        import torch.utils.data as data
        from tqdm import tqdm
        def main():
            loader = run.loader(dataset)
            for batch in loader:
                pass
        """,
    ),
    Case(
        "evaluation that collects results sees whole batches on every worker",
        """
        from torch.utils.data import DataLoader
        def main():
            loader = DataLoader(dataset, batch_size=64)
            results = []
            for batch in loader:
                results.append(model(batch))
        """,
        """
        from torch.utils.data import DataLoader
        def main():
            loader = run.loader(dataset, batch_size=64, shard=False)
            results = []
            for batch in loader:
                results.append(model(batch))
        """,
    ),
    Case(
        "a local function of the same name is somebody else's",
        """
        def DataLoader(dataset):
            return dataset
        def main():
            for i, batch in enumerate(DataLoader(dataset)):
                print(i)
        """,
        None,
    ),
)
