"""attnvgg-evaluate --suite as its user runs it: a report that resumes; what is wrong, in words."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from attnvgg_training.evaluation import suite
from attnvgg_training.evaluation.cli import main
from support import ROOT
from training_support import train

SHAPES = str(ROOT / "tests" / "data" / "shapes")


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
    """A checkpoint that gets some of the shapes right."""
    run = tmp_path_factory.mktemp("runs") / "shapes"
    assert train(run) == 0
    return run / "last"


def arguments(checkpoint: Path, photos: Path, out: Path, *more: str) -> list[str]:
    beside = ["--beside", f"control={checkpoint}", "--beside", f"attention#2={checkpoint}"]
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
    assert set(found["subjects"]) == {"attention", "control", "attention#2"}


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
        (["--suite", "sanity", "--beside", "control"], "--beside is 'control'; it must be"),
        (["--suite", "sanity", "--beside", "control=x"], "given twice"),
        (["--suite", "sanity", "--beside", "attention=x"], "take attention#2"),
        (["--suite", "sanity", "--beside", "gap=/nowhere"], "/nowhere"),
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
