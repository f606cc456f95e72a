"""Every block of the client's README runs, against a stand-in for the server."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[3] / "clients" / "python" / "README.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README.read_text(encoding="utf-8"), re.M | re.S)


def test_there_are_blocks() -> None:
    assert {language for language, _ in BLOCKS} == {"python", "sh"}


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_block(
    number: int,
    fake_url: str,
    photo_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ATTNVGG_URL", fake_url)
    language, text = BLOCKS[number]
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
