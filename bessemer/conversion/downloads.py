"""What the research code downloads, and the stage `download(settings)` that fetches the same to there.

A download of a file becomes `fetch(url, target)`; a data set that a library downloads becomes the same call;
a function of the research code that downloads in a way of its own is called as it was. What a stage needs
must be known before training: literals, settings, and what follows from them. A download that needs more
is named with the reason, and happens when the project trains, as it did.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace

import libcst as cst

from bessemer.conversion.analysis import Analysis
from bessemer.conversion.download_commands import URL, file_name, url_and_target
from bessemer.conversion.kinds import Kind
from bessemer.conversion.notebooks.cells import place
from bessemer.conversion.resolving import Given, Resolver, Unresolved
from bessemer.conversion.syntax import bound_name, code_of, literal_text, parameters, walk

STAGE = "download"
_IN_STAGE = "yes"
_SHELLS = frozenset({"os.system", "os.popen"})
_PROCESSES = frozenset({"subprocess.run", "subprocess.call", "subprocess.check_call", "subprocess.Popen"})
# Functions that put a URL into a file: names of their first two parameters.
_FILES = {
    "urllib.request.urlretrieve": ("url", "filename"),
    "torch.hub.download_url_to_file": ("url", "dst"),
    "wget.download": ("url", "out"),
}
# Libraries that download what is asked for, with the parameters that decide what and where to.
_ALWAYS = (
    *("datasets.load_dataset", "sklearn.datasets.fetch_", "huggingface_hub.", "gdown.", "nltk.download"),
    *(
        "seaborn.load_dataset",
        "torchvision.datasets.utils.download_",
        "kagglehub.",
        "torch.hub.load_state_dict_from_url",
    ),
)
_ON_DEMAND = ("torchvision.datasets.", "torchaudio.datasets.", "torchtext.datasets.")
_DATA_PARAMETERS = frozenset(
    {"root", "train", "split", "name", "year", "image_set", "mode", "url", "subset", "background", "classes"}
)
# They read what lies there, and download nothing.
_LOCAL = frozenset({"ImageFolder", "DatasetFolder", "FakeData", "download_file_from_google_drive"})
_OPENED = frozenset({"urllib.request.urlopen", "requests.get", "urllib2.urlopen"})


@dataclass(frozen=True)
class Fetch:
    """A download of the research code.

    Attributes:
        where: it stands.
        what: it is, as written there.
        stands: whether the stage has it: `yes`, or why not.
        code: statements of the stage, each on a line of its own, or "".
    """

    where: str
    what: str
    stands: str
    code: str = ""


def find_fetches(analysis: Analysis, callable_names: Collection[str] = ()) -> tuple[Fetch, ...]:
    """Find everything that a program downloads, in the order of the program.

    Args:
        analysis: the program.
        callable_names: functions of the research code that the stage may call.
    """
    finder = _Finder(analysis, callable_names)
    found = [fetch for call in walk(analysis.script.program.module, cst.Call) for fetch in finder.of(call)]
    notes = analysis.notes
    if notes is not None:
        for needed in notes.downloads:
            target = "" if needed.target == needed.what else needed.target
            where = place(notes.path, needed.cell, needed.line)
            found.append(_of_shell(where, needed.what, needed.what, target))
    if _is_taken(analysis):
        taken = f"no: the research code has a `{STAGE}` of its own, which the stage would hide"
        found = [replace(x, stands=taken, code="") if x.code else x for x in found]
    return tuple(dict.fromkeys(found))


def _is_taken(analysis: Analysis) -> bool:
    """Tell whether the research code has, or imports, something of the stage's name."""
    script = analysis.script
    names = {x.name.value for x in script.definitions} | {x.name for x in script.constants}
    imports = [x for statement in script.imports for x in walk(statement, cst.Import, cst.ImportFrom)]
    names |= {bound_name(x) for y in imports if not isinstance(y.names, cst.ImportStar) for x in y.names}
    return STAGE in names


def download_stage(analysis: Analysis, fetches: Sequence[Fetch]) -> cst.FunctionDef | None:
    """Return the function `download(settings)` of a project; None if there is nothing to fetch.

    Args:
        analysis: the program.
        fetches: what it downloads.
    """
    lines = list(dict.fromkeys(line for fetch in fetches for line in fetch.code.splitlines()))
    if not lines:
        return None
    name = analysis.settings
    imports = ["    from bessemer.data.fetching import fetch\n"] if any("fetch(" in x for x in lines) else []
    text = (
        f"def {STAGE}({name}: Settings) -> None:\n"
        '    """Fetch what the research code downloads, to where it puts it."""\n'
        f"{''.join(imports)}" + "".join(f"    {line}\n" for line in lines)
    )
    return cst.ensure_type(cst.parse_statement(text), cst.FunctionDef).with_changes(
        leading_lines=[cst.EmptyLine(), cst.EmptyLine()]
    )


class _Finder:
    """Tells of each call whether and what it downloads."""

    def __init__(self, analysis: Analysis, callable_names: Collection[str]) -> None:
        self._analysis = analysis
        self._callable = callable_names
        self._program = analysis.script.program
        self._resolver = Resolver(analysis)

    def of(self, call: cst.Call) -> list[Fetch]:
        """Return the downloads of one call; a function that is called twice may download twice."""
        name = (self._program.imported(call.func) or "").removeprefix("six.moves.")
        build: Callable[[cst.Call, Given], str] | None = None
        if name in _FILES:
            url, target = _FILES[name]
            build = self._file(url, target)
        elif name in _SHELLS or name in _PROCESSES:
            return self._shell(call)
        elif name.startswith(_ALWAYS):
            build = self._library
        elif name.startswith(_ON_DEMAND) and name.rpartition(".")[2] not in _LOCAL:
            if not self._downloads(call):
                return []
            build = self._library
        elif name in _OPENED:
            needs = "no: what comes is used at once, by training itself"
            return self._by_own_function(call) or [self._fetch(call, needs)]
        if build is None:
            return []
        return self._built(call, build)

    def _built(self, call: cst.Call, build: Callable[[cst.Call, Given], str]) -> list[Fetch]:
        found: dict[str, None] = {}
        needs: dict[str, None] = {}
        for given in self._surroundings(call, 0):
            try:
                found[build(call, given)] = None
            except Unresolved as error:
                needs[" ".join(error.needs.split())] = None
        if not found:
            return self._by_own_function(call) or [
                self._fetch(call, f"no: it depends on {', '.join(f'`{x}`' for x in needs)}")
            ]
        stands = _IN_STAGE
        if needs:
            stands += f", but not where it depends on {', '.join(f'`{x}`' for x in needs)}"
        return [self._fetch(call, stands, "\n".join(found))]

    def _by_own_function(self, call: cst.Call) -> list[Fetch]:
        """Have the stage call the function around a download, as the research code does."""
        function = self._program.definition(call)
        if not isinstance(function, cst.FunctionDef) or function.name.value not in self._callable:
            return []
        name = function.name.value
        found: dict[str, None] = {}
        for use in self._analysis.kinds.calls.get(name, []):
            for given in self._surroundings(use, 1):
                if self._is_local(call, self._resolver.passed(function, use, given)):
                    continue
                try:
                    values = [x.with_changes(value=self._resolver.plain(x.value, given)) for x in use.args]
                except Unresolved:
                    continue
                found[f"{name}({', '.join(code_of(x).rstrip(', ') for x in values)})"] = None
        return [self._fetch(call, f"yes, by `{name}`", "\n".join(found))] if found else []

    def _is_local(self, call: cst.Call, given: Given) -> bool:
        """Tell whether what a call would open is known, and no address."""
        try:
            text = literal_text(self._resolver.plain(call.args[0].value, given)) if call.args else None
        except Unresolved:
            return False
        return text is not None and "://" not in text

    def _surroundings(self, node: cst.CSTNode, depth: int) -> Iterator[Given]:
        """Yield what parameters and loop variables around a node may be, one for each way to come there."""
        for given in self._parameters_around(node, depth):
            yield from self._turns(node, given)

    def _turns(self, node: cst.CSTNode, given: Given) -> Iterator[Given]:
        """Yield the values of loop variables around a node, where the loops are over what is written out."""
        loops = [x for x in self._program.ancestors(node) if isinstance(x, cst.For)]
        ways = [given]
        for loop in reversed(loops):
            ways = [{**way, **turn} for way in ways for turn in self._resolver.turns(loop, way)]
        yield from ways

    def _parameters_around(self, node: cst.CSTNode, depth: int) -> Iterator[Given]:
        program, function = self._program, self._program.function(node)
        definition = program.definition(node)
        calls = self._analysis.kinds.calls.get(definition.name.value, []) if definition is not None else []
        is_made = isinstance(definition, cst.FunctionDef) or (
            function is not None and function.name.value == "__init__"
        )
        if function is None or not is_made or not parameters(function) or not calls or depth > 3:
            yield {}
            return
        for call in calls:
            for outer in self._surroundings(call, depth + 1):
                yield self._resolver.passed(function, call, outer)

    def _fetch(self, call: cst.Call, stands: str, code: str = "") -> Fetch:
        return Fetch(self._program.where(call), " ".join(self._program.code(call).split()), stands, code)

    def _file(self, url: str, target: str) -> Callable[[cst.Call, Given], str]:
        def build(call: cst.Call, given: Given) -> str:
            values = _arguments(call, (url, target))
            if url not in values:
                raise Unresolved(url)
            source = self._resolver.plain(values[url], given)
            if target in values:
                return f"fetch({code_of(source)}, {code_of(self._resolver.plain(values[target], given))})"
            text = literal_text(source)
            if text is None or url != "url" or target == "filename":
                raise Unresolved("a temporary file")
            return f"fetch({text!r}, {file_name(text)!r})"

        return build

    def _library(self, call: cst.Call, given: Given) -> str:
        """Return the call of a library with what decides what is downloaded, and where to."""
        name = self._program.imported(call.func) or ""
        on_demand = name.startswith(_ON_DEMAND)
        kept: list[str] = []
        is_positional = True
        for index, arg in enumerate(call.args):
            keyword = arg.keyword.value if arg.keyword is not None else None
            if arg.star or keyword == "download":
                continue
            try:
                text = code_of(self._resolver.plain(arg.value, given))
            except Unresolved:
                # The first argument says where to, or what; a transform is nothing that is downloaded.
                if (keyword is None and index == 0) or keyword in _DATA_PARAMETERS or not on_demand:
                    raise
                is_positional = False
                continue
            if keyword is not None and (not on_demand or keyword in _DATA_PARAMETERS):
                kept.append(f"{keyword}={text}")
            elif keyword is None and is_positional and not self._is_callable(arg.value):
                kept.append(text)
            elif keyword is None:
                is_positional = False
        if on_demand and not name.startswith("torchtext."):
            kept.append("download=True")
        return f"{code_of(call.func)}({', '.join(kept)})"

    def _is_callable(self, node: cst.BaseExpression) -> bool:
        return isinstance(node, cst.Call | cst.Lambda) or self._analysis.kinds.is_a(node, Kind.MODULE)

    def _downloads(self, call: cst.Call) -> bool:
        """Tell whether a data set is asked to download: by a keyword, or by its place in torchvision."""
        given = [x.value for x in call.args if x.keyword is not None and x.keyword.value == "download"]
        if self._program.imported(call.func or call) and (self._program.imported(call.func) or "").startswith(
            "torchtext."
        ):
            return True
        words = [self._program.code(x) for x in given]
        if not words and len(call.args) == 5 and all(x.keyword is None for x in call.args):
            words = [
                self._program.code(call.args[4].value)
            ]  # root, train, transform, target_transform, download
        return bool(words) and words[0] != "False"

    def _shell(self, call: cst.Call) -> list[Fetch]:
        """Return what a command of a shell downloads."""
        if not call.args:
            return []
        value = call.args[0].value
        text = literal_text(value)
        if text is None and isinstance(value, cst.List | cst.Tuple):
            words = [literal_text(x.value) for x in value.elements]
            text = shlex.join([x for x in words if x is not None]) if None not in words else None
        code = self._program.code(value)
        if text is None:
            is_download = re.search(r"\b(?:wget|curl|gdown)\b", code) is not None
            return [self._fetch(call, "no: its command is put together when it runs")] if is_download else []
        if not re.match(r"\s*(?:wget|curl|gdown|aria2c)\b", text):
            return []
        url, target = url_and_target(text)
        what = " ".join(self._program.code(call).split())
        return [_of_shell(self._program.where(call), what, url, target)]


def _of_shell(where: str, what: str, url: str, target: str) -> Fetch:
    if not URL.fullmatch(url):
        return Fetch(where, what, "no: its address is not written out")
    if "drive.google.com" in url:
        return Fetch(where, what, "no: Google Drive asks before it sends; fetch it with gdown")
    if any(x in url + target for x in "{}$`*"):
        return Fetch(where, what, "no: its command is put together when it runs")
    name = target if target and not target.endswith("/") else f"{target}{file_name(url)}"
    return Fetch(where, what, _IN_STAGE, f"fetch({url!r}, {name!r})")


def _arguments(call: cst.Call, names: tuple[str, ...]) -> dict[str, cst.BaseExpression]:
    found: dict[str, cst.BaseExpression] = {}
    for index, arg in enumerate(call.args):
        if arg.keyword is not None:
            found[arg.keyword.value] = arg.value
        elif not arg.star and index < len(names):
            found[names[index]] = arg.value
    return found
