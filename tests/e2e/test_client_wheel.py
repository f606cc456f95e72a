"""The client's wheel in an environment of its own: what a user installs, and nothing else of ours.

The suite of tests/unit/client runs there, away from the sources, without the extras.
"""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

from support import ROOT

SOURCES = ROOT / "clients" / "python"
TESTS = ROOT / "tests" / "unit" / "client"
EXTRAS = {"grpc", "matplotlib", "torch", "tritonclient"}
"""What tests of the client import and its own dependencies do not bring; torch is the user's."""
ELSEWHERE = ("bench_connections", "bench_run", "cli_process", "faulty_servers", "fork", "many")
"""Files that wait on purpose or start many processes, half of the time. They ask for no extra, and
run where scripts/test has installed the same wheel."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built as README.md of the root builds the server's."""
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-deps", "--wheel-dir", str(folder), str(SOURCES))
    (found,) = folder.iterdir()
    return found


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment that holds the wheel, its dependencies and what its tests are run with."""
    folder = tmp_path_factory.mktemp("user")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin" / "python"
    pip("--python", str(python), "install", str(wheel), "pytest", "hypothesis")
    return python


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The tests and the README where the tests look for it, and none of the sources."""
    shutil.copytree(
        TESTS, tmp_path / "tests/unit/client", ignore=shutil.ignore_patterns("__pycache__")
    )
    (tmp_path / "clients/python").mkdir(parents=True)
    shutil.copy(SOURCES / "README.md", tmp_path / "clients/python")
    return tmp_path


def pip(*arguments: str) -> None:
    run([sys.executable, "-m", "pip", *arguments, "--quiet"], ROOT)


def run(command: list[str], folder: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    package = SOURCES / "attnvgg_client"
    expected = {str(path.relative_to(SOURCES)) for path in package.glob("*.*")}
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        (metadata,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        facts = message_from_bytes(archive.read(metadata))
        assert metadata.replace("METADATA", "licenses/LICENSE") in archive.namelist()
    assert names == expected
    assert "attnvgg_client/py.typed" in names
    assert facts["Description-Content-Type"] == "text/markdown"
    readme = (SOURCES / "README.md").read_text(encoding="utf-8")
    assert facts.get_payload(decode=True).decode().strip() == readme.strip()


def test_it_brings_its_own_dependencies_and_nothing_else(python: Path) -> None:
    run([sys.executable, "-m", "pip", "--python", str(python), "check"], python.parent)
    listed = run(
        [sys.executable, "-m", "pip", "--python", str(python), "list", "--format=json"],
        python.parent,
    )
    names = {each["name"].lower() for each in json.loads(listed)}
    assert {"attnvgg-client", "httpx", "numpy", "pillow", "pytest"} <= names
    assert len(names) < 20, names  # httpx brings six, the tools of the tests as many
    assert names.isdisjoint(EXTRAS | {"attnvgg", "bentoml", "onnxruntime", "grpcio"})


def test_it_is_the_installed_one_that_is_imported_without_a_warning(
    python: Path, tmp_path: Path
) -> None:
    script = "import attnvgg_client; print(attnvgg_client.__file__, attnvgg_client.__version__)"
    file, version = run([str(python), "-W", "error", "-c", script], tmp_path).split()
    assert Path(file).is_relative_to(python.parents[1])
    assert "site-packages" in file
    command = run([str(python.with_name("attnvgg")), "--version"], tmp_path)
    assert command == f"attnvgg-client {version}\n"


@pytest.mark.timeout(600)
def test_its_tests_pass_there_but_for_those_that_need_an_extra(python: Path, folder: Path) -> None:
    """An extra that is missing skips its tests and no others: all of them run where CI has it."""
    report = folder / "report.xml"
    options = ["-q", "-W", "error", "--strict-markers", "--import-mode=importlib"]
    options += ["-p", "no:cacheprovider", f"--junitxml={report}", "tests/unit/client"]
    options += [f"--ignore=tests/unit/client/test_{name}.py" for name in ELSEWHERE]
    assert all((folder / f"tests/unit/client/test_{name}.py").is_file() for name in ELSEWHERE)
    run([str(python), "-m", "pytest", *options], folder)
    cases = ElementTree.parse(report).iter("skipped")
    skipped = [f"{case.get('message')} {case.text}" for case in cases]
    wanted = {name for why in skipped for name in re.findall(r"could not import '(\w+)", why)}
    assert wanted == EXTRAS, skipped
    others = [why for why in skipped if "could not import" not in why]
    assert all("this file system" in why for why in others), others
    assert all(map(importlib.util.find_spec, EXTRAS)), "those tests run nowhere"


def test_a_user_who_checks_types_gets_them(python: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--cache-dir=cache"]
    command += ["--python-executable", str(python), str(Path(__file__).with_name("client_user.py"))]
    assert "Success" in run(command, tmp_path)
