"""Every block of the client's README runs, against stand-ins for the servers; its tables are true.

A block whose first line is ```python plot needs that extra and is skipped without; those that need
`triton` run in triton_door/test_triton_readme.py, where there is a stand-in for it.
"""

import inspect
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import attnvgg_client
from attnvgg_client import APIStatusError, AttnVGGError, Client, _errors

README = Path(__file__).parents[3] / "clients" / "python" / "README.md"
TEXT = README.read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)(?: (\w+))?\n(.*?)^```", TEXT, re.M | re.S)


def rows(first: str) -> list[list[str]]:
    """The rows of the table whose first column has this name, cell by cell."""
    (table,) = re.findall(rf"^\| {first} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", TEXT, re.M)
    return [[cell.strip() for cell in row.strip("| ").split("|")] for row in table.splitlines()]


def test_there_are_blocks() -> None:
    assert {language for language, _, _ in BLOCKS} == {"python", "sh"}
    assert {extra for _, extra, _ in BLOCKS} == {"", "plot", "triton"}


@pytest.mark.parametrize("number", [n for n, block in enumerate(BLOCKS) if block[1] != "triton"])
def test_block(
    number: int,
    fake_url: str,
    photo_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    language, extra, text = BLOCKS[number]
    if extra == "plot":
        pytest.importorskip("matplotlib")
    monkeypatch.setenv("ATTNVGG_URL", fake_url)
    (photo_path.parent / "photos").mkdir()
    shutil.copy(photo_path, photo_path.parent / "photos")
    text = text.replace("http://127.0.0.1:3000", fake_url)
    text = text.replace("--duration 10", "--duration 0.2 --warmup 0")
    if language == "sh":
        command = f"{sys.executable} -c 'from attnvgg_client._cli import main; exit(main())'"
        lines = [line for line in text.splitlines() if not line.startswith("pip ")]
        text = "\n".join(re.sub(r"^attnvgg ", f"{command} ", line) for line in lines)
        arguments = ["sh", "-e", "-c", text]
    else:
        arguments = [sys.executable, "-W", "error", "-c", text]
    run = subprocess.run(
        arguments, cwd=photo_path.parent, capture_output=True, text=True, check=False, timeout=60
    )
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""


def test_the_table_of_verbs_has_all_of_them() -> None:
    verbs = [name for name, _ in inspect.getmembers(Client, inspect.isfunction) if name[0] != "_"]
    named = [re.findall(r"`(\w+)\(", first) for first, *_ in rows("verb")]
    assert sorted(name for names in named for name in names) == sorted(verbs)


def test_the_table_of_errors_is_the_code() -> None:
    kinds = {
        name: kind
        for name, kind in vars(attnvgg_client).items()
        if isinstance(kind, type) and issubclass(kind, AttnVGGError)
    }
    named = {}
    for error, codes, _ in rows("error"):
        (name,) = re.findall(r"`(\w+)`", error)
        named[name] = set(re.findall(r"`(\w+)`", codes))
    assert named.keys() == kinds.keys()
    for name, kind in kinds.items():
        if issubclass(kind, APIStatusError):
            assert named[name] == {code for code, each in _errors._BY_CODE.items() if each is kind}


def test_the_environment_variables_are_those_of_the_code() -> None:
    sources = Path(attnvgg_client.__file__).parent.glob("*.py")
    code = "".join(path.read_text(encoding="utf-8") for path in sources)
    read = set(re.findall(r'\benvironment\.get\("(ATTNVGG_\w+)"\)', code))
    assert read
    assert {name.strip("`") for name, *_ in rows("variable")} == read
