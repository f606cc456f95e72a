"""The copied requests run, whatever a file is called, and give what the page shows."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from node import needs_node_modules, node
from page_driver import ask, choose, code, newest, settled, transfer
from page_models import BRIGHT
from support import ROOT, Server, run

if TYPE_CHECKING:
    from playwright.sync_api import Page

SDK = ROOT / "clients" / "typescript"
NAMES = [
    "picture.png",
    "two words, and a comma.png",
    "it's $(touch owned) `touch owned` ; touch owned.png",
    'double " quote \\ and \\n backslash.png',
    "line\nbreak.png",
    "tab\tand bell\a.png",
    "-output owned",
    "@file.png",
    "-",
    "data:image.png",
    "http:example.png",
    "%41 & ? # * ! ~ {a,b} [x].png",
    "\u202egnp.\u200bcat \U0001f408 \U000e0041.png",
    "\u00e9te\u0301.png",
    "$HOME ${IFS}.png",
    "'''.png",
    '""".png',
]
needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="no curl on this machine")


@pytest.fixture(scope="module")
def sdk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a program finds attnvgg-client, built as npm would have it."""
    folder = tmp_path_factory.mktemp("node")
    package = folder / "node_modules" / "attnvgg-client"
    package.mkdir(parents=True)
    shutil.copy(SDK / "package.json", package)
    node("tsc", "-p", "tsconfig.build.json", "--outDir", str(package / "dist"), folder=SDK)
    (folder / "package.json").write_text('{"type": "module"}')
    return folder


@pytest.fixture(scope="module")
def content(pictures: list[Path]) -> bytes:
    return pictures[0].read_bytes()


def label(output: str) -> str:
    """Of what the Python and the TypeScript print: a label and its probability."""
    return output.rpartition(" ")[0]


@needs_curl
@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_what_is_copied_runs_whatever_the_file_is_called(
    page: "Page", served: Server, content: bytes, tmp_path: Path, name: str
) -> None:
    transfer(page, "drop", [(name, "image/png", content)])
    settled(page, 1)
    expected = ask(served.url, content).prediction
    (tmp_path / name).write_bytes(content)
    answer = json.loads(run(["bash", "-euc", code(newest(page), "curl")], tmp_path))
    assert answer["predictions"][0]["label"] == expected["label"]
    assert set(answer["predictions"][0]["attention"]) == {"conv7", "conv10", "conv13", "fused"}
    printed = run([sys.executable, "-c", code(newest(page), "python")], tmp_path)
    assert label(printed) == expected["label"]
    assert os.listdir(tmp_path) == [name], "nothing else came of it"


@needs_node_modules
def test_the_typescript_runs_and_its_types_are_right(
    page: "Page", served: Server, content: bytes, sdk: Path
) -> None:
    strict = ["--noEmit", "--strict", "--target", "es2022", "--module", "nodenext"]
    strict += ["--types", "node", "--typeRoots", str(ROOT / "node_modules" / "@types")]
    names = [name for name in NAMES if ":" not in name]
    transfer(page, "drop", [(name, "image/png", content) for name in names])
    settled(page, len(names))
    expected = ask(served.url, content).prediction
    files = []
    for number, name in enumerate(names):
        (sdk / name).write_bytes(content)
        card = page.locator(f"#results article:nth-of-type({number + 1})")
        files.append(f"snippet{number}.ts")
        (sdk / files[-1]).write_text(code(card, "typescript"), "utf-8")
    node("tsc", *strict, *files, folder=sdk)
    program = "".join(f"await import('./{file}');\n" for file in files)
    printed = run(["node", "--input-type=module", "--eval", program], sdk)
    assert [label(line) for line in printed.splitlines()] == [expected["label"]] * len(names)


@needs_curl
def test_a_sample_and_the_model_chosen_are_in_it(
    page: "Page", served: Server, tmp_path: Path
) -> None:
    page.select_option("#model", label=f"{BRIGHT}, version 1")
    page.locator("[data-sample]").first.click()
    settled(page, 1)
    shown = newest(page).locator("h2").inner_text()
    answer = json.loads(run(["bash", "-euc", code(newest(page), "curl")], tmp_path))
    assert (answer["model"]["name"], answer["predictions"][0]["label"]) == (BRIGHT, shown)
    printed = run([sys.executable, "-c", code(newest(page), "python")], tmp_path)
    assert label(printed) == shown
    assert os.listdir(tmp_path) == []


@needs_curl
def test_of_a_failure_it_fails_likewise(page: "Page", content: bytes, tmp_path: Path) -> None:
    cut = tmp_path / "cut.png"
    cut.write_bytes(content[:200])
    choose(page, cut)
    command = ["bash", "-euc", code(newest(page), "curl")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 22
    assert json.loads(done.stdout)["error"]["code"] == "invalid_image"
    assert "invalid_image" in newest(page).locator(".error").inner_text()
