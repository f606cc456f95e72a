"""benchmarks/training times equal work, and its document is its data."""

import importlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from support import ROOT

FOLDER = ROOT / "benchmarks" / "training"
Importer = Callable[[str], ModuleType]


@pytest.fixture(scope="module")
def script() -> Iterator[Importer]:
    """Imports a module of the benchmark's folder, which is no package; other benchmarks have
    modules of the same names."""
    names = [path.stem for path in FOLDER.glob("*.py")]
    others = {name: sys.modules.pop(name) for name in names if name in sys.modules}
    before = list(sys.path)
    sys.path.insert(0, str(FOLDER))
    yield importlib.import_module
    sys.path[:] = before
    for name in names:
        sys.modules.pop(name, None)
    sys.modules.update(others)


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a quick run by the real command."""
    out = tmp_path_factory.mktemp("training")
    command = [sys.executable, FOLDER / "run.py", "--quick", "--networks", "tiny", "--out", out]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture
def values() -> dict[str, Any]:
    """results.json of an imagined run, whose second round is half as fast for everyone."""
    rates = {
        "plain loop": [100.0, 50.0, 90.0],
        "plain loop, no workers": [80.0, 40.0, 70.0],
        "engine": [250.0, 125.0, 180.0],
        "engine, float32": [125.0, 62.5, 90.0],
    }
    network = {
        "name": "VGG-att3-concat-pc",
        "gmacs": 0.1,
        "parameters": 1,
        "batch": 10,
        "pictures": 20,
        "rates": rates,
        "peaks": {"fp32": 150.0, "bf16": 600.0},
    }
    machine = {"cpu": "a processor", "instructions": [], "cores": 2, "threads": 2}
    machine |= {"system": "a system", "python": "3", "versions": {}, "load_at_start": 0.1}
    return {
        "date": "today",
        "quick": False,
        "device": "cpu",
        "device_name": None,
        "machine": machine,
        "minutes": 1.0,
        "networks": {"wide": network},
    }


def test_a_run_times_every_contender_in_every_round(quick: Path, script: Importer) -> None:
    found = json.loads((quick / "results.json").read_text())
    assert found["quick"] is True
    network = found["networks"]["tiny"]
    case = script("settings").case("tiny", "cpu", True)
    assert list(network["rates"]) == list(case.contenders)
    assert {"plain loop", "engine", "engine, float32"} < set(case.contenders)
    assert all(len(rates) == case.rounds == 2 for rates in network["rates"].values())
    assert all(rate > 0 for rates in network["rates"].values() for rate in rates)
    assert network["peaks"].keys() == {"fp32", "bf16"}
    text = (quick / "RESULTS.md").read_text()
    assert "the figures mean nothing" in text
    assert text == script("report").render(found)


def test_the_committed_document_is_made_of_the_committed_results(script: Importer) -> None:
    if not (FOLDER / "results.json").is_file():
        pytest.skip("not measured yet")
    found = json.loads((FOLDER / "results.json").read_text())
    assert (FOLDER / "RESULTS.md").read_text() == script("report").render(found)
    assert not found["quick"]
    assert list(found["networks"]) == ["wide", "full"]
    contenders = list(script("settings").DATATYPE)
    assert all(list(each["rates"]) == contenders for each in found["networks"].values())


def test_ratios_are_taken_round_by_round(values: dict[str, Any], script: Importer) -> None:
    report, network = script("report"), values["networks"]["wide"]
    assert report.better_plain(network) == "plain loop"
    assert report.ratio(network, "engine", "plain loop") == pytest.approx(2.5)
    network["rates"]["plain loop, no workers"] = [110.0, 95.0, 90.0]
    assert report.better_plain(network) == "plain loop, no workers"


def test_whether_the_aim_is_met_is_computed(values: dict[str, Any], script: Importer) -> None:
    report = script("report")
    text = report.render(values)
    assert "- `wide`: 2.50 times: yes (against: plain loop)." in text
    # 3 passes of 2 x 0.1 GFLOP at 180 a second, of 600.
    assert "| engine | 180 (250) | 18 % of bf16 | 2.50 | 1.00 |" in text
    assert "| engine, float32 | 90.0 (125) | 36 % of fp32 | 1.25 | 0.50 |" in text
    values["networks"]["wide"]["rates"]["engine"] = [150.0, 75.0, 180.0]
    assert "- `wide`: 1.50 times: no" in report.render(values)


def test_one_thing_is_changed_at_a_time(script: Importer) -> None:
    settings, contenders = script("settings"), script("contenders")
    case = settings.case("wide", "cpu", False)
    model = contenders.model_config("tiny")
    everything = contenders._settings(settings.ENGINE, model, case)
    train, data = everything.train, everything.data
    assert (train.amp, train.channels_last, train.compile) == ("bf16", True, False)
    assert data.memory == "device"
    differing = {
        settings.NO_BF16: {"amp"},
        settings.NO_CHANNELS_LAST: {"channels_last"},
        settings.COMPILED: {"compile"},
        settings.FILES: {"memory"},
    }
    for name, fields in differing.items():
        other = contenders._settings(name, model, case)
        changed = {
            key
            for section in ("data", "train")
            for key, value in everything.to_dict()[section].items()
            if other.to_dict()[section][key] != value
        }
        assert changed == fields


def test_a_slot_times_its_steps_and_no_others(script: Importer, tmp_path: Path) -> None:
    settings, contenders = script("settings"), script("contenders")
    case = settings.case("tiny", "cpu", True)
    run = contenders.build(settings.ENGINE, case, "cpu", tmp_path)
    seen: list[int] = []
    step = run.trainer._step

    def counted(images: Any, targets: Any) -> Any:
        seen.append(len(images))
        return step(images, targets)

    run.trainer._step = counted
    assert run.slot(case.steps) > 0
    assert seen == [case.batch] * (run.warmup + case.steps)


def test_every_class_is_in_both_splits_of_the_files(script: Importer, tmp_path: Path) -> None:
    settings, contenders = script("settings"), script("contenders")
    found = contenders.pictures(20 * contenders.CLASSES)  # whose first 20 lack some
    assert len(set(found.targets[:20])) < contenders.CLASSES
    case = settings.case("tiny", "cpu", True)
    config = contenders._settings(settings.FILES, contenders.model_config("tiny"), case)
    dataset = contenders._in_files(found, tmp_path, config)
    assert len(dataset.labels) == len(dataset.test) == contenders.CLASSES
    assert len(dataset.train) == len(found.targets)


def test_unknown_networks_are_refused(
    script: Importer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        script("run").main(["--networks", "wide,huge", "--out", str(tmp_path)])
    assert "--networks has huge; known are wide, full, tiny" in capsys.readouterr().err
