"""docs/training.md, networks.md, evidence.md: commands run as they stand, tables are the code's."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from attnvgg_training import checkpoint, models, recipes
from attnvgg_training.evaluation import suite
from attnvgg_training.models import ModelConfig
from support import ROOT

TRAINING = (ROOT / "docs" / "training.md").read_text()
EVIDENCE = (ROOT / "docs" / "evidence.md").read_text()
NETWORKS = (ROOT / "docs" / "networks.md").read_text()


def blocks(text: str, language: str) -> list[str]:
    found = re.findall(r"^```(\w+)\n(.*?)^```", text, re.M | re.S)
    return [block for kind, block in found if kind == language]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What every block printed, by its first line; they run in order, in a folder of their own."""
    folder = tmp_path_factory.mktemp("docs")
    for name in ("training/configs", "tests/data/shapes"):
        shutil.copytree(ROOT / name, folder / name)
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
    }
    printed = {"folder": str(folder)}
    for block in blocks(TRAINING + EVIDENCE, "bash"):
        done = subprocess.run(
            ["bash", "-euc", block],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=280,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
        printed[block.splitlines()[0]] = done.stdout + done.stderr
    return printed


@pytest.mark.timeout(600)
def test_every_block_of_training_runs(outputs: dict[str, str]) -> None:
    assert len(outputs) == 1 + len(blocks(TRAINING + EVIDENCE, "bash")) >= 8
    folder = Path(outputs["folder"])
    assert (folder / "models" / "shapes" / "1" / "manifest.json").is_file()
    assert (folder / "runs" / "shapes" / "evaluation.json").is_file()
    assert checkpoint.read(folder / "runs" / "tuned" / "last").initialised_from is not None
    assert len(checkpoint.read(folder / "runs" / "two-processes" / "last").labels) == 3
    report = json.loads((folder / "runs" / "evidence" / "results.json").read_text())
    assert list(report["suites"]) == ["classification", "faithfulness", "sanity"]
    run = {path.name for path in (folder / "runs" / "shapes").iterdir()}
    assert {"metrics.csv", "last", "best", "epoch-0012"} <= run


@pytest.mark.timeout(600)
def test_they_print_what_the_page_says(outputs: dict[str, str]) -> None:
    everything = "\n".join(outputs.values())
    for text in (
        "95 % interval",
        "taken for",
        "mirror image",
        "(exact)",
        "(measured",
        "2 processes",
    ):
        assert text in everything


def test_the_settings_are_those_of_the_code() -> None:
    assert recipes.table().strip() in TRAINING


def test_the_suites_are_those_of_the_code() -> None:
    named = re.findall(r"^\| `([a-z-]+)` \| ([^|]*\?) \|", EVIDENCE, re.M)
    assert named == [(name, each.title) for name, each in suite.SUITES.items()]


def test_the_networks_are_those_of_the_code() -> None:
    listed = "\n".join(f"    {line}" for line in models.listing())
    assert listed in NETWORKS


@pytest.fixture(scope="module")
def helps() -> dict[str, str]:
    """What --help of each command prints."""
    modules = {"train": "train", "evaluate": "evaluation.cli", "convert": "convert"}
    found = {}
    for command, module in modules.items():
        run = [sys.executable, "-m", f"attnvgg_training.{module}", "--help"]
        done = subprocess.run(run, capture_output=True, text=True, check=True)
        found[f"attnvgg-{command}"] = done.stdout
    return found


@pytest.mark.parametrize(
    "text", [TRAINING, NETWORKS, EVIDENCE], ids=["training", "networks", "evidence"]
)
def test_commands_that_are_not_run_have_flags_that_exist(text: str, helps: dict[str, str]) -> None:
    for block in blocks(text, "console"):
        for line in block.splitlines():
            command, *words = line.split("#")[0].split()
            for flag in (word for word in words if word.startswith("--") and command in helps):
                assert flag in helps[command], line
    everything = "".join(helps.values())
    for flag in re.findall(r"`(--[a-z-]+[a-z])", text):
        assert flag in everything, flag


def test_recipes_and_files_that_are_named_are_there() -> None:
    for name in re.findall(r"`([\w-]+\.toml)`", TRAINING):
        assert (ROOT / "training" / "configs" / name).is_file(), name
    named = set(re.findall(r"`([\w-]+\.toml)`", TRAINING))
    assert named == {path.name for path in (ROOT / "training" / "configs").glob("*.toml")}


def test_options_of_networks_are_settings() -> None:
    section = NETWORKS.split("## Options")[1].split("##")[0]
    rows = re.findall(r"^\| ([^|]*`[^|]*) \|", section, re.M)
    options = {name for row in rows for name in re.findall(r"`([\w-]+)`", row)}
    settings = set(ModelConfig.__dataclass_fields__) - {"name"}
    assert options == settings
