"""Values that a loop keeps for itself: set in it, and read in a later iteration or after it.

A restart goes on in the middle of a loop, so what the iterations before it have left in variables,
attributes, globals, lists or dictionaries is gone, unless `run.carry` or `run.totals` has it. A loop that
was complete is not run again either: what it has set is unset behind it.
"""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from bessemer.conversion.checks.base import Case, Finding, Reading
from bessemer.conversion.hooked import Hooked, Over
from bessemer.conversion.liveness import Lost

RULE = "kept"
_BARS = ("tqdm", "rich.progress")
_CLOCKS = frozenset({"time.time", "time.perf_counter", "time.monotonic", "time.process_time"})


def find(reading: Reading) -> Iterator[Finding]:
    """Find the values that hooked loops lose; the innermost loop that loses a value names it."""
    finder = _Finder(reading)
    depth = {
        x: sum(reading.loops.is_hooked(y) for y in reading.code.ancestors(x.node)) for x in reading.loops.all
    }
    for loop in sorted(reading.loops.all, key=lambda x: -depth[x]):
        yield from finder.visit(loop)


class _Finder:
    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._tracked = reading.tracked()
        self._told: set[object] = set()

    def visit(self, loop: Hooked) -> Iterator[Finding]:
        """Judge one loop."""
        reading = self._reading
        found = list(reading.liveness.lost(loop.function, loop.node))
        # What is set right here first: a call that sets the same thing is then told already.
        found.sort(key=lambda x: reading.code.around(x.sites[0]) is not loop.function)
        for lost in found:
            lasting = [x for x in lost.sites if not self._is_kept(x)]
            if not lasting:
                continue
            site = self._shown(lasting[0])
            if self._identity(lost, site) in self._told:
                continue
            self._told |= {self._identity(lost, self._shown(x)) for x in lasting}
            yield self._finding(loop, lost, site)

    def _identity(self, lost: Lost, site: cst.BaseExpression) -> object:
        """Say what is the same value: one variable of a function, one attribute of a class."""
        code = self._reading.code
        function = code.around(site)
        owner = code.owner(function) if function is not None else None
        is_attribute = isinstance(site, cst.Attribute)
        if lost.name.partition(".")[0].find("::") > 0:
            return lost.name
        return (owner if is_attribute and owner is not None else function, code.code(site))

    def _shown(self, site: cst.BaseExpression) -> cst.BaseExpression:
        """Return what a message names: an object of a class as a whole, not each of its attributes."""
        if isinstance(site, cst.Attribute) and isinstance(site.value, cst.Name):
            own = self._reading.code.around(site)
            if own is not None and site.value.value == self._reading.code.self_name(own):
                return site
            if any(isinstance(x, cst.Call) for x in self._reading.origins.of(site.value)):
                made = self._reading.origins.classes(site.value)
                return site.value if made else site
        return site

    def _is_kept(self, site: cst.BaseExpression) -> bool:
        """Tell whether a restart puts a value back anyway, or whether it is none."""
        reading = self._reading
        function = reading.code.around(site)
        own = reading.code.self_name(function) if function is not None else None
        holders: list[cst.BaseExpression] = [site]
        while isinstance(holders[-1], cst.Attribute):
            holders.append(holders[-1].value)
        for holder in holders:
            if isinstance(holder, cst.Name) and (holder.value == own or holder.value == "_"):
                return holder.value == "_"
            if reading.is_carried(holder) or reading.origins.is_run(holder):
                return True
            found = reading.origins.of(holder)
            if found and all(self._lasts(x) for x in found):
                return True
        return False

    def _lasts(self, origin: cst.CSTNode) -> bool:
        reading = self._reading
        called = reading.origins.called(origin) or ""
        return (
            origin in self._tracked
            or reading.is_position(origin)
            or reading.stateful(origin) is not None  # another check asks whether it is tracked
            or called.startswith(_BARS)
            or called in _CLOCKS
        )

    def _finding(self, loop: Hooked, lost: Lost, site: cst.BaseExpression) -> Finding:
        reading = self._reading
        name = reading.code.code(site)
        where = reading.code.where(loop.node)
        if lost.crosses:
            why = f"{name} lives on from one iteration of the loop at {where} into the next"
            why += "; a restart in the middle of the loop begins with its first value"
        else:
            why = f"{name} gets its value in the loop at {where} and is read after it"
            why += "; a restart does not run what is complete again, and finds it as it was before"
        return reading.finding(RULE, site, name, why, self._todo(loop, site, name))

    def _todo(self, loop: Hooked, site: cst.BaseExpression, name: str) -> str:
        last = name.rpartition(".")[2]
        statement = self._reading.code.parents.get(site)
        own = name.rpartition(".")[0]
        held = f"{own}." if own else ""
        if self._reading.origins.classes(site) and not isinstance(statement, cst.AssignTarget):
            return (
                f"keep its numbers in run.totals(...) or run.carry(...), or give its class state_dict and "
                f"load_state_dict and call run.track({last}={name})"
            )
        adds = isinstance(statement, cst.AugAssign) and isinstance(statement.operator, cst.AddAssign)
        counts = adds and isinstance(statement, cst.AugAssign) and isinstance(statement.value, cst.Integer)
        if adds and not counts and loop.over is Over.LOADER:
            return (
                f"{held}totals = run.totals({last}=0.0) before the loop, then {held}totals.{last} += ...; "
                "it is summed over workers when the loop ends"
            )
        return (
            f"{held}kept = run.carry({last}=...) before the loop, then {held}kept.{last} in place of {name}"
        )


CASES = (
    Case(
        "a sum over batches",
        """
        def train(run, loader):
            total = 0.0
            for x in loader:
                total += f(x)  # lost: total
            return total
        """,
    ),
    Case(
        "a sum that run.totals keeps, also when the totals are a parameter",
        """
        def train(run, loader):
            totals = run.totals(loss=0.0)
            add(loader, totals)
            return totals.loss
        def add(loader, sums):
            for x in loader:
                sums.loss += f(x)
        """,
    ),
    Case(
        "the last value, read after the loop",
        """
        def train(run, train_loader):
            for i, x in train_loader.enumerate():  # lost: i
                loss = f(x)  # lost: loss
                run.log({"loss": loss})
            print(i, loss)
        """,
    ),
    Case(
        "what every iteration sets anew before it reads it",
        """
        def train(run, loader):
            for i, x in loader.enumerate():
                x = x.to(run.device)
                loss = f(x)
                if i % 10 == 0:
                    print(loss, [y for y in x])
        """,
    ),
    Case(
        "a best value over epochs, and a list that grows",
        """
        def main(run, settings):
            best, history = 0.0, []
            for epoch in run.epochs(9):
                accuracy = test(run)
                if accuracy > best:
                    best = accuracy  # lost: best
                history.append(accuracy)  # lost: history
        """,
    ),
    Case(
        "what a training leaves behind",
        """
        def fit(run, loader):
            last = run.last(loss=None)
            for epoch in run.epochs(9):
                for batch in loader:
                    last.loss = step(batch)
            return last.loss

        def main(run, settings):
            kept = run.carry(losses=[])
            for fold in range(3):
                kept.losses.append(fit(run, run.loader(data(fold), batch_size=4)))
        """,
    ),
    Case(
        "the same in run.carry",
        """
        def main(run, settings):
            kept = run.carry(best=0.0, history=[])
            for epoch in run.epochs(9):
                accuracy = test(run)
                if accuracy > kept.best:
                    kept.best = accuracy
                kept.history.append(accuracy)
        """,
    ),
    Case(
        "what is computed before a loop from settings and the loop variable, and only read",
        """
        def main(run, settings):
            loader = run.loader(data)
            scale = settings.scale
            for epoch in run.epochs(9):
                weight = scale * epoch
                names = []
                names.append(epoch)
                for x in loader:
                    run.log({"loss": weight * f(x)})
                print(weight, names)
        """,
    ),
    Case(
        "an attribute, set in the method that loops",
        """
        class Trainer:
            def __init__(self, run):
                self.run = run
                self.loader = run.loader(data)
                self.iter_num = 0
            def fit(self):
                for epoch in self.run.epochs(9):
                    self.epoch()
            def epoch(self):
                for x in self.loader:
                    self.loss = f(x)
                    print(self.loss)
                    self.iter_num += 1  # lost: self.iter_num
        """,
    ),
    Case(
        "an attribute, set by what the loop calls and read after training by another",
        """
        class Trainer:
            def __init__(self, run):
                self.run = run
                self.loader = run.loader(data)
            def fit(self):
                for x in self.loader:
                    self.step(x)
            def step(self, x):
                self.last = f(x)  # lost: self.last
        def main(run, settings):
            trainer = Trainer(run)
            trainer.fit()
            print(trainer.last)
        """,
    ),
    Case(
        "an attribute that holds carried values",
        """
        class Trainer:
            def __init__(self, run):
                self.kept = run.carry(iter_num=0)
                self.loader = run.loader(data)
            def fit(self):
                for x in self.loader:
                    self.kept.iter_num += 1
        """,
    ),
    Case(
        "a global, and a variable of the enclosing function",
        """
        NUM = 0
        def count():
            global NUM
            NUM += 1  # lost: NUM
        def main(run, settings):
            loader = run.loader(data)
            ema = 0.0
            def smooth(x):
                nonlocal ema
                ema = 0.9 * ema + x  # lost: ema
            for x in loader:
                count()
                smooth(f(x))
        """,
    ),
    Case(
        "a list of the caller's",
        """
        def main(run, settings):
            loader = run.loader(data)
            losses = []
            for epoch in run.epochs(9):
                train(loader, losses)
        def train(batches, losses):
            for x in batches:
                losses.append(f(x))  # lost: losses
        """,
    ),
    Case(
        "an object that averages, made before the loop",
        """
        class Meter:
            def __init__(self):
                self.sum = self.count = 0
            def update(self, x):
                self.sum += x
                self.count += 1
        def train(run, loader):
            meter = Meter()
            for x in loader:
                meter.update(f(x))  # lost: meter
            return meter.sum / meter.count
        """,
    ),
    Case(
        "an object that is tracked, one that is made anew, a bar and a clock",
        """
        import time
        from tqdm import tqdm
        class Meter:
            def __init__(self):
                self.sum = 0
            def update(self, x):
                self.sum += x
        def train(run, loader):
            meter = Meter()
            run.track(meter=meter)
            bar = tqdm(total=9)
            begin = time.time()
            for x in loader:
                fresh = Meter()
                fresh.update(x)
                meter.update(f(x) + fresh.sum)
                bar.update(1)
                print(time.time() - begin)
                begin = time.time()
        """,
    ),
    Case(
        "an average of weights, changed in place",
        """
        def train(run, loader, model):
            ema = [p.clone() for p in model.parameters()]
            for x in loader:
                for e, p in zip(ema, model.parameters()):
                    e.mul_(0.9).add_(p)
                ema[0] = f(x)  # lost: ema
        """,
    ),
    Case(
        "an iterator of the loader that is begun anew",
        """
        def train(run, settings):
            loader = run.loader(data)
            it = iter(loader)
            for step in run.steps(9):
                try:
                    x = next(it)
                except StopIteration:
                    it = iter(loader)
                    x = next(it)
                run.log({"loss": f(x)})
        """,
    ),
    Case(
        "a loop over something else",
        """
        def count(rows):
            total = 0
            for row in rows:
                total += 1
            return total
        """,
    ),
)
