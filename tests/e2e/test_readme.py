"""Every command of the README runs, in a copy of what is tracked, as a newcomer would run it."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from support import ROOT, end, free_port, start, wait_until_ready

BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)
OVERLAYS = {"cat.png": (320, 213), "cat-conv6.png": (320, 213), "circle.png": (32, 32)}
MAKING = ("attnvgg-train", "attnvgg-export", "attnvgg-evaluate")
ELSEWHERE = ("scripts/", "bentoml build", *MAKING)

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="the README needs curl")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tracked files as they are in the working tree: nothing that is lying about helps."""
    folder = tmp_path_factory.mktemp("clone") / "attnvgg"
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    for name in tracked.stdout.decode().split("\0"):
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def made(copy: Path) -> Path:
    """After the blocks that train and export."""
    for block in blocks("bash"):
        if any(command in block for command in MAKING):
            run(["bash", "-euc", block], copy)
    return copy


@pytest.fixture(scope="module")
def served(made: Path) -> Iterator[str]:
    """`scripts/serve` itself, with a virtual environment that it makes."""
    port = free_port()
    environment = {**os.environ, "BENTOML_PORT": str(port), "BENTOML_HOME": str(made / "bentoml")}
    process = start(["scripts/serve"], made, environment, made / "serve.log")
    try:
        wait_until_ready(f"http://127.0.0.1:{port}", process, made / "serve.log", seconds=280)
        yield f"http://127.0.0.1:{port}"
    finally:
        end(process)


def blocks(language: str) -> list[str]:
    """The README's blocks of a language, without installing into the environment of the tests."""
    found = [text for kind, text in BLOCKS if kind == language]
    return [re.sub(r"^pip install .*\n", "", text, flags=re.M) for text in found]


def run(command: list[str], folder: Path) -> str:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    environment["BENTOML_HOME"] = str(folder / "bentoml")
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_training_and_export_give_a_bundle(made: Path) -> None:
    assert (made / "models" / "shapes" / "1" / "manifest.json").is_file()
    assert (made / "runs" / "shapes" / "last" / "model.safetensors").is_file()
    assert (made / "runs" / "triton" / "shapes-encoded" / "config.pbtxt").is_file()


@pytest.mark.timeout(600)
def test_serve_prints_the_address_and_installs_no_torch(served: str, made: Path) -> None:
    default = (made / "models" / "default").read_text().strip()
    assert f"attnvgg serves {default} on {served}" in (made / "serve.log").read_text()
    installed = run([".venv-serve/bin/python", "-m", "pip", "list"], made)
    assert "onnxruntime" in installed
    assert not re.search(r"^torch", installed, re.M)


@pytest.mark.timeout(600)
def test_every_other_block_runs_against_it(served: str, made: Path) -> None:
    ran = 0
    for language, command in (("bash", ["bash", "-euc"]), ("python", [sys.executable, "-c"])):
        for block in blocks(language):
            if (
                "scripts/" in block
                or "bentoml build" in block
                or any(each in block for each in MAKING)
            ):
                continue
            text = block.replace("http://127.0.0.1:3000", served)
            if language == "bash":
                text = f"export ATTNVGG_URL={served}\n" + text.replace("curl ", "curl -fsS ")
            run([*command, text], made)
            ran += 1
    assert ran >= 4
    for name, size in OVERLAYS.items():
        with Image.open(made / name) as overlay:
            assert overlay.size == size


@pytest.mark.timeout(600)
def test_the_bento_serves_from_anywhere(served: str, made: Path, tmp_path: Path) -> None:
    (block,) = [block for block in blocks("bash") if "bentoml build" in block]
    run(["bash", "-euc", block], made)
    port = free_port()
    command = [sys.executable, "-m", "bentoml", "serve", "attnvgg:latest"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    environment = {**os.environ, "BENTOML_HOME": str(made / "bentoml")}
    process = start(command, tmp_path, environment, tmp_path / "log")
    try:
        wait_until_ready(f"http://127.0.0.1:{port}", process, tmp_path / "log")
    finally:
        end(process)


def test_the_documented_settings_are_those_of_the_code() -> None:
    from attnvgg_serving.settings import table

    assert table() in (ROOT / "docs" / "settings.md").read_text()
