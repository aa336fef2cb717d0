"""What research code downloads is found, and fetched by `download(settings)` from and to the same places."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from textwrap import dedent

import pytest

from bessemer.cli import entry
from bessemer.conversion import convert
from bessemer.conversion.downloads import Fetch, find_fetches
from conversion.converted_projects import analyzed_text
from conversion.notebooks.making import code, written

BASE = "https://example.org/"
TRAINING = """
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for epoch in range(2):
        optimizer.zero_grad()
        model(torch.zeros(1, 2)).sum().backward()
        optimizer.step()
"""
HEADER = """
import argparse
import os
import os.path as osp
import subprocess
import urllib.request
from pathlib import Path

import torch
from torchvision import datasets, transforms

BASE = "https://example.org/"
ROOT = "files"
"""


def fetches_of(setup: str, definitions: str = "", options: str = "") -> tuple[Fetch, ...]:
    body = dedent(setup).strip("\n")
    parser = (
        "parser = argparse.ArgumentParser()\n" + options + "\nargs = parser.parse_args()" if options else ""
    )
    lines = [f"    {line}" for line in (parser + "\n" + body).splitlines()]
    text = f"{HEADER}{dedent(definitions)}\ndef main():\n" + "\n".join(lines) + TRAINING
    text += '\nif __name__ == "__main__":\n    main()\n'
    return find_fetches(analyzed_text(text, "train.py"))


@pytest.mark.parametrize(
    ("setup", "statement"),
    [
        ('urllib.request.urlretrieve("https://a.b/c.csv", "c.csv")', 'fetch("https://a.b/c.csv", "c.csv")'),
        (
            'urllib.request.urlretrieve(BASE + "c.csv", filename=os.path.join(ROOT, "c.csv"))',
            'fetch("https://example.org/" + "c.csv", os.path.join(settings.ROOT, "c.csv"))',
        ),
        (
            'url = f"{BASE}c.csv"\nurllib.request.urlretrieve(url, Path(ROOT) / "c.csv")',
            'fetch("https://example.org/c.csv", Path(settings.ROOT) / "c.csv")',
        ),
        (
            'if not osp.exists("c"):\n    torch.hub.download_url_to_file("https://a.b/c", "c")',
            'fetch("https://a.b/c", "c")',
        ),
        (
            'for name in ["a", "b"]:\n    urllib.request.urlretrieve(BASE + name, name)',
            'fetch("https://example.org/" + "a", "a")\nfetch("https://example.org/" + "b", "b")',
        ),
        (
            'for name, url in {"a": "https://a.b/c"}.items():\n    urllib.request.urlretrieve(url, name)',
            'fetch("https://a.b/c", "a")',
        ),
        ('os.system("wget -q https://a.b/c.tgz")', "fetch('https://a.b/c.tgz', 'c.tgz')"),
        ('os.system("wget https://a.b/c.tgz -P data && ls")', "fetch('https://a.b/c.tgz', 'data/c.tgz')"),
        ('subprocess.run(["curl", "-o", "d", "https://a.b/c"])', "fetch('https://a.b/c', 'd')"),
        (
            "datasets.FashionMNIST(ROOT, train=True, download=True, transform=transforms.ToTensor())",
            "datasets.FashionMNIST(settings.ROOT, train=True, download=True)",
        ),
        (
            'datasets.SVHN("x", "train", transforms.ToTensor(), download=True)',
            'datasets.SVHN(settings.data_dir, "train", download=True)',
        ),
    ],
)
def test_a_download_is_in_the_stage(setup: str, statement: str) -> None:
    (found,) = fetches_of(setup)
    assert found.stands == "yes"
    assert found.code == statement
    assert found.where.startswith("train.py:")


@pytest.mark.parametrize(
    "setup",
    [
        "datasets.FashionMNIST(ROOT, train=True)",
        "datasets.FashionMNIST(ROOT, download=False)",
        'datasets.ImageFolder("x")',
        'os.system("ls")',
        'subprocess.run(["nvidia-smi"])',
    ],
)
def test_what_downloads_nothing_is_not_listed(setup: str) -> None:
    assert not fetches_of(setup)


@pytest.mark.parametrize(
    ("setup", "needs"),
    [
        ('url = input()\nurllib.request.urlretrieve(url, "c")', "`input()`"),
        ('urllib.request.urlretrieve("https://a.b/c")', "a temporary file"),
        ('text = urllib.request.urlopen("https://a.b/c").read()', "used at once"),
        ('os.system("wget " + BASE)', "put together"),
        ('os.system("wget https://drive.google.com/uc?id=1")', "Google Drive"),
        ('os.system("curl https://a.b/c")', "not written out"),
    ],
)
def test_what_cannot_be_in_the_stage_is_named_with_the_reason(setup: str, needs: str) -> None:
    (found,) = fetches_of(setup)
    assert found.stands.startswith("no: ")
    assert needs in found.stands
    assert not found.code


def test_options_become_settings_also_those_that_are_called_something_else() -> None:
    options = 'parser.add_argument("--data", default="here")\nparser.add_argument("--url", default="u")'
    (found,) = fetches_of("urllib.request.urlretrieve(args.url, args.data)", options=options)
    assert found.code == "fetch(args.url, args.data_arg)"


def test_a_download_in_a_function_is_that_of_each_call() -> None:
    helper = """
    def get(name, root="files"):
        path = os.path.join(root, name)
        urllib.request.urlretrieve(BASE + name, path)
        return path
    """
    (found,) = fetches_of('get("a")\nget("b", root="other")\nget(input())', helper)
    assert found.code.splitlines() == [
        'fetch("https://example.org/" + "a", os.path.join("files", "a"))',
        'fetch("https://example.org/" + "b", os.path.join("other", "b"))',
    ]
    assert found.stands.startswith("yes, but not where it depends on")


def test_a_download_in_a_class_is_that_of_each_object() -> None:
    owner = """
    class Table:
        def __init__(self, root):
            urllib.request.urlretrieve(BASE, root + "/table")
    """
    (found,) = fetches_of('table = Table("x")', owner)
    assert found.code == 'fetch("https://example.org/", "x" + "/table")'


def test_a_function_that_is_given_a_file_downloads_nothing() -> None:
    helper = """
    def opened(path):
        return urllib.request.urlopen(path) if "://" in path else open(path)
    """
    text = 'table = opened("files/table.csv")'
    body = f"{HEADER}{dedent(helper)}\ndef main():\n    {text}{TRAINING}\nmain()\n"
    (found,) = find_fetches(analyzed_text(body, "train.py"), ["opened"])
    assert not found.code
    (found,) = find_fetches(analyzed_text(body.replace("files/", BASE), "train.py"), ["opened"])
    assert found.code == 'opened("https://example.org/table.csv")'


def test_a_function_of_the_research_code_is_never_taken_for_the_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    helper = """
    def download(path):
        urllib.request.urlretrieve("https://example.org/own", path)
    """
    body = f"{HEADER}{dedent(helper)}\ndef main():\n    download('own.csv'){TRAINING}\nmain()\n"
    source = tmp_path / "src" / "naming"
    source.mkdir(parents=True)
    (source / "train.py").write_text(body)
    monkeypatch.chdir(tmp_path)
    project = convert(source, tmp_path / "projects" / "naming")
    assert "a `download` of its own" in (project.out / "CONVERSION.md").read_text()
    assert entry(["data", "download", "--project", "naming"]) == 0
    assert "nothing to download" in capsys.readouterr().out


PROGRAM = """
import argparse
import os
import urllib.request

import torch


def table(root, name="table.csv"):
    path = os.path.join(root, name)
    if not os.path.exists(path):
        os.makedirs(root, exist_ok=True)
        with urllib.request.urlopen("{url}") as answer, open(path, "wb") as file:
            file.write(answer.read())
    return path


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", default="raw", help="folder of the table")
    args = parser.parse_args()
    urllib.request.urlretrieve("{url}", args.root + "/plain.csv")
    path = table(args.root)
{training}

if __name__ == "__main__":
    main()
"""


def test_make_download_data_fetches_what_the_research_code_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    served = tmp_path / "served.csv"
    served.write_text("1,2\n")
    source = tmp_path / "src" / "fetching"
    source.mkdir(parents=True)
    (source / "train.py").write_text(PROGRAM.format(url=served.as_uri(), training=TRAINING))
    monkeypatch.chdir(tmp_path)
    project = convert(source, tmp_path / "projects" / "fetching")
    assert entry(["data", "download", "--project", "fetching", "--root", "given"]) == 0
    assert (tmp_path / "given" / "plain.csv").read_text() == "1,2\n"
    assert (tmp_path / "given" / "table.csv").read_text() == "1,2\n"
    assert "download of fetching is done" in capsys.readouterr().out

    report = (project.out / "CONVERSION.md").read_text()
    assert "yes, by `table`" in report
    data = json.loads((project.out / "conversion.json").read_text())["data"]
    assert [x["where"] for x in data] == ["train.py:13", "train.py:22"]
    room = ast.parse((project.out / project.package / "data" / "preprocessing.py").read_text())
    assert [x.name for x in room.body if isinstance(x, ast.FunctionDef)] == ["table", "download"]


def test_what_a_notebook_fetches_by_a_shell_is_in_the_stage(tmp_path: Path) -> None:
    cells = [code("!wget -q https://a.b/c.csv -O c.csv\nimport torch", 1), code(dedent(TRAINING), 2)]
    project = convert(written(tmp_path / "fetching.ipynb", cells), tmp_path / "out")
    room = (project.out / project.package / "data" / "preprocessing.py").read_text()
    assert 'fetch("https://a.b/c.csv", "c.csv")' in room
    assert "| fetching.ipynb[cell 1]:1 |" in (project.out / "CONVERSION.md").read_text()
