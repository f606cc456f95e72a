"""attnvgg-serve doctor: the real command on good and on broken set-ups."""

import os
import subprocess
import sys
from pathlib import Path

import onnxruntime
import pytest

from support import MODELS, RELEASED

Lines = dict[str, tuple[str, str]]


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.upper().startswith(("ATTNVGG_", "BENTO"))}
    command = [sys.executable, "-m", "attnvgg_serving.cli", *arguments]
    safe = {"BENTOML_HOST": "127.0.0.1", "BENTOML_PORT": "1", "BENTOML_DO_NOT_TRACK": "True"}
    environment = {**clean, **safe, **variables}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


def examine(code: int, **variables: str) -> Lines:
    """What is examined -> (level, line); asserts the exit code and that nothing else is said."""
    done = run("doctor", **variables)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    *lines, last = done.stdout.splitlines()
    assert last.startswith("it would serve" if code == 0 else "it would not serve: ")
    found: Lines = {}
    for line in sorted(lines, key=lambda line: "ok warning failure".index(line.split()[0])):
        level, _, rest = line.partition(" ")
        what, _, says = rest.strip().partition(": ")
        found[what] = (level, says)  # the worst of several lines
    assert ("failure" in {level for level, _ in found.values()}) == bool(code)
    return found


@pytest.fixture
def copy(tiny_models: Path, tmp_path: Path) -> Path:
    """A models folder to break."""
    models = tmp_path / "models"
    folder = models / "tiny" / "1"
    folder.mkdir(parents=True)
    (models / "default").write_text("tiny\n")
    for file in (tiny_models / "tiny" / "1").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return models


def test_a_sound_set_up_would_serve(tiny_models: Path, tmp_path: Path) -> None:
    file = tmp_path / "attnvgg.toml"
    file.write_text("max_batch = 4\n")
    found = examine(0, ATTNVGG_MODELS=str(tiny_models), ATTNVGG_CONFIG=str(file))
    assert {level for level, _ in found.values()} == {"ok"}
    assert f"models={tiny_models} (ATTNVGG_MODELS), max_batch=4 ({file});" in found["settings"][1]
    assert found["default"] == ("ok", "tiny")
    assert found["tiny/1"][1].endswith("files as exported; fp32 on cpu agrees with golden.npz")


def test_a_precision_that_is_there_is_run(tiny_models: Path) -> None:
    found = examine(0, ATTNVGG_MODELS=str(MODELS), ATTNVGG_PRECISION="int8")
    assert "int8 on cpu agrees" in found[f"{RELEASED.parent.name}/{RELEASED.name}"][1]
    found = examine(1, ATTNVGG_MODELS=str(tiny_models), ATTNVGG_PRECISION="int8")
    assert "has no model.int8.onnx (it has: fp32)" in found["tiny/1"][1]


def test_each_bundle_has_a_line_and_a_broken_one_says_why(copy: Path) -> None:
    (copy / "tiny" / "1").rename(copy / "tiny" / "2")  # the folder is no longer its version
    (copy / "other" / "1").mkdir(parents=True)
    (copy / "other" / "1" / "manifest.json").write_text("{")
    found = examine(1, ATTNVGG_MODELS=str(copy))
    assert found["tiny/2"][0] == found["other/1"][0] == "failure"
    assert "holds tiny/1; the folders must have those names" in found["tiny/2"][1]
    assert "cannot be read" in found["other/1"][1]


def test_a_changed_file_is_a_failure(copy: Path) -> None:
    (copy / "tiny" / "1" / "model.onnx").write_bytes(b"cut off")
    level, says = examine(1, ATTNVGG_MODELS=str(copy))["tiny/1"]
    assert level == "failure"
    assert "model.onnx has sha256" in says


def test_every_failure_is_found_in_one_run(tiny_models: Path) -> None:
    found = examine(
        1,
        ATTNVGG_MODELS=str(tiny_models),
        ATTNVGG_DEFAULT_MODEL="vgg",
        ATTNVGG_API_KEYS="/nowhere",
        BENTOML_PORT="x",
    )
    assert {what for what, (level, _) in found.items() if level == "failure"} == {
        "default",
        "keys",
        "address",
    }
    assert "names 'vgg'; there is tiny" in found["default"][1]
    assert "'/nowhere': no such file or directory" in found["keys"][1]
    assert "BENTOML_PORT is 'x'" in found["address"][1]


def test_models_that_are_missing_are_a_failure() -> None:
    level, says = examine(1, ATTNVGG_MODELS="/nowhere")["bundles"]
    assert level == "failure"
    assert "'/nowhere', which is no folder" in says


def test_settings_that_are_wrong_end_it(tmp_path: Path) -> None:
    file = tmp_path / "attnvgg.toml"
    file.write_text("max_batch = 'many'\n")
    found = examine(1, ATTNVGG_CONFIG=str(file), ATTNVGG_MAX_QEUE="1")
    level, says = found["settings"]
    assert (level, len(found)) == ("failure", 1)
    assert f"max_batch in {file} is 'many'" in says


def test_a_gpu_that_is_asked_for_and_not_there_would_not_serve(tiny_models: Path) -> None:
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime is built for CUDA; test_engine_gpu.py has the cases")
    found = examine(1, ATTNVGG_MODELS=str(tiny_models), ATTNVGG_PROVIDER="cuda")
    assert found["gpu"][0] == "failure"
    assert "replace onnxruntime by onnxruntime-gpu" in found["gpu"][1]
    assert found["bundles"][1].startswith("1 as exported; not run")


def test_what_is_odd_is_a_warning_and_would_serve(tiny_models: Path) -> None:
    found = examine(
        0, ATTNVGG_MODELS=str(tiny_models), ATTNVGG_MAX_QEUE="3", BENTOML_HOST="0.0.0.0"
    )
    assert found["address"][0] == "warning"
    assert found["settings"] == (
        "warning",
        "ATTNVGG_MAX_QEUE is set, but there is no such setting; nearest: ATTNVGG_MAX_QUEUE",
    )


def test_wrong_usage_and_help() -> None:
    assert run("doctor", "--all").returncode == 2
    assert run().returncode == 2
    shown = run("--help")
    assert shown.returncode == 0
    assert "Exit codes: 0 it would serve" in shown.stdout
