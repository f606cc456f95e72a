"""attnvgg-evaluate --suite as its user runs it: a report that resumes; what is wrong, in words."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from attnvgg_training import recipes
from attnvgg_training.distributed import World
from attnvgg_training.evaluation import suite
from attnvgg_training.evaluation.cli import _parser, main
from attnvgg_training.train import _parser as training_parser
from attnvgg_training.train import _request as request_of
from support import ROOT
from training_support import train

SHAPES = str(ROOT / "tests" / "data" / "shapes")
WITH_G = ("--global-feature", "true")
OTHERS = {
    "control": ("--name", "VGG-control", *WITH_G),
    "gap": ("--name", "VGG-GAP", "--head-dropout", "0.5"),
    "dp": ("--name", "VGG-att3-concat-dp", *WITH_G),
    "permuted": ("--permute-labels", "true"),
}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two photos with masks, and three pictures of nothing."""
    folder = tmp_path_factory.mktemp("photos")
    generator = np.random.default_rng(0)
    for name in ("things", "none"):
        (folder / name).mkdir()
    for number in range(3):
        pixels = generator.integers(0, 256, (40, 60, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "none" / f"{number}.png")
        if number < 2:
            mask = np.zeros((40, 60), np.uint8)
            mask[10:30, 10 + 20 * number : 30 + 20 * number] = 255
            Image.fromarray(pixels).save(folder / "things" / f"{number}.jpg")
            Image.fromarray(mask).save(folder / "things" / f"{number}.mask.png")
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that gets some of the shapes right, and beside it others, hardly trained."""
    runs = tmp_path_factory.mktemp("runs")
    assert train(runs / "attention") == 0
    for name, flags in OTHERS.items():
        assert train(runs / name, "--epochs", "1", *flags) == 0
    assert train(runs / "attention#2", "--seed", "1") == 0
    return runs / "attention" / "last"


def arguments(checkpoint: Path, photos: Path, out: Path, *more: str) -> list[str]:
    runs = checkpoint.parents[1]
    beside = [x for n in (*OTHERS, "attention#2") for x in ("--beside", f"{n}={runs / n / 'last'}")]
    pictures = ["--masks", str(photos), "--pictures", f"localisation={photos / 'none'}"]
    pictures += ["--pictures", f"transfer={SHAPES}"]
    return [str(checkpoint), "--data", SHAPES, "--out", str(out), *beside, *pictures, *more]


@pytest.fixture(scope="module")
def report(trained: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything, on a few pictures."""
    out = tmp_path_factory.mktemp("report")
    assert main(arguments(trained, photos, out, "--suite", "all", "--limit", "8")) == 0
    return out


def test_every_suite_is_in_the_results(report: Path) -> None:
    found = json.loads((report / "results.json").read_text())
    assert list(found["suites"]) == list(suite.SUITES)
    for name, each in found["suites"].items():
        assert each["command"].startswith("attnvgg-evaluate "), name
        assert each["tables"] or each["curves"], name
        for table in each["tables"]:
            assert table["rows"], table["title"]
            assert all(len(row) == len(table["columns"]) for row in table["rows"])
    assert set(found["subjects"]) == {"attention", *OTHERS, "attention#2"}
    assert found["subjects"]["permuted"]["permuted"] is True


def rows(report: Path, name: str, title: str) -> dict[str, list[Any]]:
    """A table's rows by what stands in the first column."""
    found = json.loads((report / "results.json").read_text())["suites"][name]["tables"]
    (table,) = [each for each in found if each["title"].startswith(title)]
    return {row[0]: row for row in table["rows"]}


def test_every_network_has_its_place(report: Path) -> None:
    every = {"attention", *OTHERS, "attention#2"} - {"permuted"}
    assert set(rows(report, "classification", "Error and calibration")) == every
    assert set(rows(report, "robustness", "Error under PGD")) == every
    assert set(rows(report, "transfer", "Linear SVM")) == every
    swapped = set(rows(report, "global-feature", "Without g"))
    assert {"dp", "untrained pc", "untrained dp"} <= swapped
    assert "CAM (gap)" in rows(report, "localisation", "Photos")
    assert "CAM (gap)" in rows(report, "segmentation", "")
    (header,) = [
        table["columns"]
        for table in json.loads((report / "results.json").read_text())["suites"]["sanity"]["tables"]
        if table["title"] == "Networks trained apart"
    ]
    assert header[1:] == [f"rank correlation with {n}" for n in ("permuted", "attention#2")]


def test_the_page_shows_all_of_it(report: Path) -> None:
    found = json.loads((report / "results.json").read_text())
    page = (report / "report.html").read_text()
    for name, each in found["suites"].items():
        assert f'id="{name}"' in page
        for table in each["tables"]:
            assert table["title"] in page.replace("&#39;", "'")
    assert page.count("<svg") == sum(len(each["curves"]) for each in found["suites"].values())
    assert "data:image/png;base64," in page
    fetched = re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', page)
    assert fetched == [], "the page must stand alone"


def test_the_tables_for_a_readme_are_of_the_results(report: Path) -> None:
    program = ROOT / "benchmarks" / "evidence" / "table.py"
    said = subprocess.run(
        [sys.executable, program, report], capture_output=True, text=True, check=True
    ).stdout
    networks, maps = (part.splitlines() for part in said.split("\n\n"))
    error = rows(report, "classification", "Error and calibration")["control"][4]
    attacked = rows(report, "robustness", "Error under PGD")["control"][3]
    (line,) = [each for each in networks if each.startswith("| control |")]
    for found in (error, attacked):
        assert f"{found['value']:.1f}" in line
    looked = rows(report, "localisation", "Photos with object masks")
    named = [each.split(" | ")[0].removeprefix("| ") for each in maps[2:]]
    assert [name for name in looked if name.startswith("attention ")] == named[:4]
    assert named[-1] == "centre"
    later = [n for n in looked if n in rows(report, "cost", "Time of a map") and n not in named[:4]]
    assert named[4] == max(later, key=lambda name: looked[name][2]["value"])
    assert f"| {looked[named[4]][2]['value']:.2f} (" in maps[2 + 4]


def test_a_table_needs_a_report(tmp_path: Path) -> None:
    program = ROOT / "benchmarks" / "evidence" / "table.py"
    done = subprocess.run([sys.executable, program, tmp_path], capture_output=True, text=True)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_what_is_there_is_not_computed_again(report: Path, trained: Path, photos: Path) -> None:
    def written() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in (report / "parts").rglob("*.json")}

    before, parts = json.loads((report / "results.json").read_text()), written()
    argv = arguments(trained, photos, report, "--suite", "sanity,cost", "--limit", "8")
    assert main(argv) == 0
    assert written() == parts
    after = json.loads((report / "results.json").read_text())
    assert list(after["suites"]) == list(suite.SUITES)
    assert after["suites"]["sanity"]["tables"] == before["suites"]["sanity"]["tables"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--suite", "sanity,nothing"], "'nothing'; it must be one of classification"),
        (["--suite", "sanity", "--limit", "0"], "--limit is 0; it must be 1 or more"),
        (["--suite", "sanity", "--seed", "-1"], "--seed is -1; it must be 0 to"),
        (["--suite", "sanity", "--batch-size", "0"], "--batch-size is 0; it must be 1 or more"),
        (["--suite", "sanity", "--per-class"], "--per-class is not for --suite"),
        (["--suite", "sanity", "--pictures", "localization=x"], "for localisation and transfer"),
        (["--suite", "sanity", "--beside", "control"], "--beside is 'control'; it must be"),
        (["--suite", "sanity", "--beside", "control=x"], "given twice"),
        (["--suite", "sanity", "--beside", "attention=x"], "take attention#2"),
        (["--suite", "sanity", "--beside", "baseline=/nowhere"], "/nowhere"),
    ],
)
def test_what_is_wrong_is_said(
    more: list[str],
    said: str,
    trained: Path,
    photos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(arguments(trained, photos, tmp_path / "out", *more)) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out" / "results.json").exists()


def test_a_suite_needs_pictures_and_a_place(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([str(trained), "--suite", "cost", "--data", SHAPES])
    assert "--suite needs --data and --out" in capsys.readouterr().err


def test_the_commands_of_a_report_are_ones_that_the_programs_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "cifar10-wide"
    for program in ("attnvgg-train", "attnvgg-evaluate"):
        stub = tmp_path / program
        stub.write_text(f'#!/bin/sh\nprintf "%s\\t" {program} "$@"; echo\n')
        stub.chmod(0o755)
    given = dict.fromkeys(("DATA", "MASKS", "DISTRACTORS", "OTHER"), SHAPES)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", **given, "TRAIN": "--epochs 3"}
    script = ROOT / "benchmarks" / "evidence" / "run"
    wrong = {**environment, "MASKS": "/nowhere"}
    done = subprocess.run([script, name], env=wrong, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert "/nowhere is no folder" in done.stderr
    done = subprocess.run([script, name], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    calls = [line.rstrip("\t").split("\t") for line in done.stdout.splitlines()]
    trained = {}
    monkeypatch.chdir(ROOT)
    for argv in (each[1:] for each in calls if each[0] == "attnvgg-train"):
        request = request_of(training_parser(0).parse_args(argv), World(), 0.0)
        assert request.recipe.train.epochs == 3
        trained[str(request.run)] = request.recipe
    reports = [_parser().parse_args(each[1:]) for each in calls if each[0] == "attnvgg-evaluate"]
    assert [report.out.name for report in reports] == [name, f"{name}-seeds"]
    asked = [x for report in reports for x in (str(report.checkpoint), *report.beside)]
    assert {str(Path(each.split("=")[-1]).parent) for each in asked} == set(trained)
    seeds = [config.train.seed for run, config in trained.items() if "control-10000" in run]
    assert seeds == [0, 1, 2]
    first = trained[f"runs/evidence/{name}/attention"]
    assert first == recipes.read(ROOT / "training" / "configs" / f"{name}.toml", {"epochs": "3"})
    first = trained[f"runs/evidence/{name}/attention-10000-0"]
    even = trained[f"runs/evidence/{name}/even-10000-0"]
    assert even == replace(first, train=replace(first.train, learn_maps=False, keep_maps=0.0))
