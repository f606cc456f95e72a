"""benchmarks/engines measures what it says, refuses broken graphs, and its document is its data."""

import importlib
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from attnvgg_bundle.compare import ValuesError
from support import ROOT

ENGINES = ROOT / "benchmarks" / "engines"
Importer = Callable[[str], ModuleType]


@pytest.fixture(scope="module")
def script() -> Iterator[Importer]:
    """Imports a module of the benchmark's folder, which is no package."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ENGINES)
        yield importlib.import_module


@pytest.fixture
def values() -> dict[str, Any]:
    """results.json of an imagined run: GMAC 2, peaks 100 and 400, fp32 at 22 and int8 at 60."""

    def row(rate: float, **facts: object) -> dict[str, Any]:
        return {"threads": 1, **facts, "rates": [rate], "best": rate, "median": rate}

    engines = {"PyTorch eager": 11.0, "ONNX Runtime fp32": 22.0, "ONNX Runtime int8": 60.0}
    return {
        "date": "today",
        "quick": False,
        "device": "cpu",
        "device_name": None,
        "machine": {
            "cpu": "a processor",
            "instructions": ["avx2"],
            "cores": 2,
            "system": "a system",
            "python": "3",
            "versions": {"torch": "2"},
            "load_at_start": 0.1,
        },
        "rounds": 1,
        "seconds_a_case": 0.5,
        "minutes": 1.0,
        "networks": {"full": {"gmacs": 2.0, "parameters": 1, "trained": False, "agreement": {}}},
        "peaks": [
            row(90.0, kernel="torch.mm", datatype="fp32"),
            row(100.0, kernel="a convolution", datatype="fp32"),
            row(400.0, kernel="a convolution", datatype="int8"),
        ],
        "measurements": [
            row(rate, network="full", engine=engine, batch=8) for engine, rate in engines.items()
        ],
        "alone": [row(44.0, network="full", engine="ONNX Runtime fp32", batch=8)],
    }


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a quick run by the real command."""
    out = tmp_path_factory.mktemp("engines")
    command = [sys.executable, ENGINES / "run.py", "--quick", "--networks", "tiny", "--out", out]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return out


def test_a_run_measures_every_engine_and_the_peaks_beside_them(quick: Path) -> None:
    found = json.loads((quick / "results.json").read_text())
    cases = {(row["engine"], row["batch"], row["threads"]) for row in found["measurements"]}
    engines = ("PyTorch eager", "TorchScript", "ONNX Runtime fp32", "ONNX Runtime int8")
    assert cases == {(engine, batch, 1) for engine in engines for batch in (1, 2)}
    assert {row["datatype"] for row in found["peaks"]} == {"fp32", "int8"}
    assert [row["engine"] for row in found["alone"]] == ["PyTorch eager"]
    for row in found["measurements"] + found["peaks"] + found["alone"]:
        assert len(row["rates"]) == found["rounds"]
        assert 0 < row["median"] <= row["best"] == max(row["rates"])


def test_a_quick_run_says_so_and_is_rendered_as_it_is_stored(quick: Path, script: Importer) -> None:
    text = (quick / "RESULTS.md").read_text()
    assert "the figures mean nothing" in text
    assert text == script("report").render(json.loads((quick / "results.json").read_text()))


def test_the_committed_document_is_made_of_the_committed_results(script: Importer) -> None:
    found = json.loads((ENGINES / "results.json").read_text())
    assert (ENGINES / "RESULTS.md").read_text() == script("report").render(found)
    assert not found["quick"]
    assert list(found["networks"]) == ["small", "full"]
    keys = ("network", "threads", "engine", "batch")
    cases = {tuple(row[key] for key in keys) for row in found["measurements"]}
    assert len(cases) == len(found["measurements"]) == 2 * 2 * 5 * 3


def test_per_cent_of_peak_is_against_the_fastest_kernel_of_the_data_type(
    values: dict[str, Any], script: Importer
) -> None:
    assert script("results").percent(images=50, gmacs=2, peak=400) == pytest.approx(50)
    results = script("results").Results(values)
    assert results.share("full", 1, "ONNX Runtime fp32", 8) == pytest.approx(88)
    assert results.share("full", 1, "ONNX Runtime int8", 8) == pytest.approx(60)
    assert results.gain("full", 1, "ONNX Runtime fp32", "PyTorch eager", 8) == pytest.approx(2)


def test_whether_an_aim_is_met_is_computed(values: dict[str, Any], script: Importer) -> None:
    text = script("report").render(values)
    assert "- ONNX Runtime fp32, per cent of peak: 85 or more: yes, met in 1 of 1 cases." in text
    assert "- ONNX Runtime int8, times fp32: 3 or more: no, met in 0 of 1 cases." in text
    assert "| 1 | 88.00: yes |" in text
    assert "| 1 | 2.73: no |" in text
    assert "| ONNX Runtime fp32 | 44.0 | 22.0 | 0.50 |" in text  # half as fast as when alone
    values["peaks"][1]["median"] = 110.0
    assert "| 1 | 80.00: no |" in script("report").render(values)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--networks", "small,huge"], "--networks has huge; known are small, full, tiny"),
        ([], "torch.compile needs a C++ compiler; there is no missing-compiler"),
    ],
)
def test_what_cannot_run_is_a_message(
    arguments: list[str],
    message: str,
    script: Importer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("CXX", "missing-compiler")
    with pytest.raises(SystemExit, match="2"):
        script("run").main([*arguments, "--out", str(tmp_path)])
    assert message in capsys.readouterr().err


def test_a_worker_that_fails_leaves_nothing(
    script: Importer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(job: object) -> None:
        raise subprocess.CalledProcessError(1, "worker.py")

    monkeypatch.setattr(script("run"), "_work", fail)
    assert script("run").main(["--quick", "--out", str(tmp_path)]) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_broken_graph_is_not_timed(script: Importer) -> None:
    runners, network = script("runners"), script("networks").build("tiny", 2)
    job = script("settings").Job("cpu", 1, ("tiny",), (), (1, 2), 1, 0.0, False, True)
    eager = runners.build("PyTorch eager", network, Path(), job)

    def off(pictures: np.ndarray) -> list[np.ndarray]:
        return [*eager(pictures)[:-1], eager(pictures)[-1] * 1.1]

    with pytest.raises(ValuesError, match="TorchScript at batch 1: descriptor differs"):
        runners.check("TorchScript", network, off, eager, (1, 2))

    def backwards(pictures: np.ndarray) -> list[np.ndarray]:
        return [-eager(pictures)[0]]

    trained = network._replace(trained=True)
    with pytest.raises(ValuesError, match=r"int8 gives the label of .* to 0% of"):
        runners.check("ONNX Runtime int8", trained, backwards, eager, (1, 2))


def test_reduced_precision_runs_the_convolutions_in_it(script: Importer) -> None:
    runners, network = script("runners"), script("networks").build("tiny", 4)
    job = script("settings").Job("cpu", 1, ("tiny",), (), (4,), 1, 0.0, False, True)
    exact = runners.build("PyTorch eager", network, Path(), job)(network.pictures)
    found = runners.build("PyTorch eager bf16", network, Path(), job)(network.pictures)
    assert all(np.allclose(f, e, atol=0.1) for f, e in zip(found, exact, strict=True))
    assert not np.array_equal(found[-1], exact[-1])


def test_the_peak_of_int8_is_computed_in_int8(script: Importer, tmp_path: Path) -> None:
    peaks, options = script("peaks"), onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    chain = peaks._chain(peaks.Layer(channels=8, side=4, batch=1), quantized=True)
    options.log_severity_level = 3
    onnxruntime.InferenceSession(chain.SerializeToString(), options, ["CPUExecutionProvider"])
    nodes = onnx.load(tmp_path / "optimised.onnx").graph.node
    assert Counter(node.op_type for node in nodes)["QLinearConv"] == peaks.DEPTH


def test_golden_pictures_on_another_provider(tiny_models: Path) -> None:
    program = ROOT / "benchmarks" / "gpu" / "golden.py"
    command = [sys.executable, program, tiny_models / "tiny" / "1"]
    done = subprocess.run([*command, "CPUExecutionProvider"], capture_output=True, text=True)
    assert "onnx {}: within 0.0001 + 0.1% of the value" in done.stdout, done.stderr
    assert "onnx {} attention_conv10: " in done.stdout
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        other = subprocess.run([*command, "CUDAExecutionProvider"], capture_output=True, text=True)
        assert other.returncode != 0
        assert "within" not in other.stdout
