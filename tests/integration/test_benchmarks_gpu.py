"""benchmarks/gpu/engine.py runs where the GPU machines run it: numpy and onnxruntime, no more."""

import json
import os
import subprocess
import sys
from pathlib import Path

import onnxruntime

from support import ROOT

PROGRAM = ROOT / "benchmarks" / "gpu" / "engine.py"
ABSENT = ("PIL", "bentoml", "pydantic", "pydantic_settings", "starlette", "torch")


def run(bundle: Path, out: Path, provider: str = "cpu") -> subprocess.CompletedProcess[str]:
    small = ["--seconds", "0.01", "--batches", "1,3", "--mixed", "4"]
    program = [str(PROGRAM), str(bundle), "--provider", provider, "--out", str(out), *small]
    script = (
        "import runpy, sys\n"
        f"sys.modules.update(dict.fromkeys({ABSENT}))\n"
        f"sys.argv = {program}\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    path = os.pathsep.join(str(ROOT / folder) for folder in ("serving", "export"))
    environment = {**os.environ, "PYTHONPATH": path}
    command = [sys.executable, "-c", script]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)


def test_it_measures_each_case_once_and_goes_on_where_it_stopped(
    tiny_models: Path, tmp_path: Path
) -> None:
    bundle, file = tiny_models / "tiny" / "1", tmp_path / "engine.json"
    done = run(bundle, tmp_path)
    assert done.returncode == 0, done.stderr
    results = json.loads(file.read_text())
    cases = results["cases"]
    assert len(cases) == 2 * 2 * 2 + 2  # two ways, batches, sets of outputs; padded or not
    assert cases["ways: bound, batch 3, all outputs"]["pictures_s"] > 0
    assert cases["padding: padded"].keys() >= {"warm_s", "first_p99_ms", "again_p99_ms"}
    for case in cases.values():
        assert all(value > 0 for value in case.values())
    del cases["padding: padded"]
    file.write_text(json.dumps(results))
    assert run(bundle, tmp_path).returncode == 0
    again = json.loads(file.read_text())["cases"]
    assert again.pop("padding: padded")
    assert again == cases


def test_it_does_not_measure_another_provider_than_was_asked_for(
    tiny_models: Path, tmp_path: Path
) -> None:
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        done = run(tiny_models / "tiny" / "1", tmp_path, "cuda")
        assert done.returncode != 0
        assert not (tmp_path / "engine.json").exists()
