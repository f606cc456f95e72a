"""`attnvgg-export triton`: what it writes, what it refuses, and that it writes all or nothing."""

import ast
import errno
import json
import logging
import os
import shutil
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from attnvgg_bundle import preprocess
from attnvgg_bundle.manifest import IntegrityError, ManifestError, Sizes, sha256
from attnvgg_export import triton_plan
from attnvgg_export.cli import main
from attnvgg_export.triton_options import Options, RepositoryError
from attnvgg_export.triton_repository import write
from plain_bundle import plain_bundle

PYTHON = Options("python")
SIZES = Sizes(min=16, max=64, multiple=8)
Change = Callable[[Path], object]


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """The bundles plain/1 and plain/2, whose graphs differ."""
    plain_bundle(tmp_path / "models" / "plain" / "1")
    plain_bundle(tmp_path / "models" / "plain" / "2", gain=2)
    (tmp_path / "models" / "default").write_text("plain\n")
    return tmp_path / "models"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return tmp_path / "triton-models"


def tree(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def snapshot(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Inode, time of change and content of everything in a folder."""
    stats = {p: p.stat() for p in folder.rglob("*")}
    return {
        str(p): (s.st_ino, s.st_mtime_ns, p.read_bytes() if p.is_file() else b"")
        for p, s in stats.items()
    }


def edit(folder: Path, **values: object) -> None:
    """Changes fields of a bundle's manifest."""
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_the_repository_has_three_models_a_name(models: Path, repository: Path) -> None:
    lines = write(models, repository, PYTHON)
    decoder = ["__pycache__", "manifest.json", "model.py", "preprocess.py"]
    graph = ["__pycache__", "manifest.json", "model.onnx", "model.py"]
    expected = {"plain-decode/config.pbtxt", "plain-encoded/config.pbtxt"}
    expected |= {"plain/config.pbtxt", "plain/labels.txt"}
    for version in "12":
        expected |= {f"plain-decode/{version}/{name}" for name in decoder}
        expected |= {f"plain/{version}/{name}" for name in graph}
        expected |= {f"plain-encoded/{version}/manifest.json"}
    assert tree(repository) == sorted(expected)
    assert (repository / "plain" / "labels.txt").read_text() == "red\ngreen\nblue\n"
    assert lines == [
        f"written   {model} version {version}"
        for model in ("plain", "plain-decode", "plain-encoded")
        for version in "12"
    ]
    assert sorted(p.name for p in repository.parent.iterdir()) == ["models", "triton-models"]


def test_tritons_own_backend_gets_the_graph_alone(models: Path, repository: Path) -> None:
    write(models, repository, Options())
    names = sorted(path.name for path in (repository / "plain" / "1").iterdir())
    assert names == ["manifest.json", "model.onnx"]
    for version in "12":
        written = repository / "plain" / version / "model.onnx"
        assert written.read_bytes() == (models / "plain" / version / "model.onnx").read_bytes()


def config(repository: Path, model: str) -> str:
    return (repository / model / "config.pbtxt").read_text()


def test_the_configuration_says_what_the_flags_say(models: Path, repository: Path) -> None:
    options = Options(
        max_batch=8,
        instances=3,
        threads=2,
        decoders=5,
        queue_delay_us=700,
        max_queue=90,
        queue_timeout_ms=1500,
    )
    write(models, repository, options)
    text = config(repository, "plain")
    for part in (
        'name: "plain"\nbackend: "onnxruntime"\nmax_batch_size: 8\n',
        '{ name: "image" data_type: TYPE_UINT8 dims: [24, 32, 3] }',
        '{ name: "probabilities" data_type: TYPE_FP32 dims: [3] label_filename: "labels.txt" },',
        '{ name: "attention_conv1" data_type: TYPE_FP32 dims: [24, 32] },',
        "version_policy { all { } }",
        "instance_group [ { count: 3 kind: KIND_GPU } ]",
        "max_queue_delay_microseconds: 700\n",
        "max_queue_size: 90\n",
        "default_timeout_microseconds: 1500000\n",
        "timeout_action: REJECT\n    allow_timeout_override: true\n",
        '{ name: "batch 1" batch_size: 1 inputs { key: "image" value: { data_type: TYPE_UINT8 '
        "dims: [24, 32, 3] random_data: true } } },",
        '{ name: "batch 8" batch_size: 8 inputs',
        'parameters { key: "intra_op_thread_count" value: { string_value: "2" } }',
    ):
        assert part in text
    decoder = config(repository, "plain-decode")
    assert "instance_group [ { count: 5 kind: KIND_CPU } ]" in decoder
    assert 'key: "geometry" value: { string_value: "stretch" }' in decoder
    ensemble = config(repository, "plain-encoded")
    assert "version_policy { latest { num_versions: 1 } }" in ensemble
    assert 'model_name: "plain-decode"\n      model_version: -1' in ensemble


def test_one_picture_is_warmed_up_once(models: Path, repository: Path) -> None:
    write(models, repository, Options(max_batch=1))
    assert config(repository, "plain").count("batch_size: 1 inputs") == 1


def test_other_sizes_are_free_for_pixels_and_not_for_encoded_pictures(
    tmp_path: Path, repository: Path
) -> None:
    plain_bundle(tmp_path / "models" / "free" / "1", sizes=SIZES)
    write(tmp_path / "models", repository, PYTHON)
    text = config(repository, "free")
    assert 'name: "image" data_type: TYPE_UINT8 dims: [-1, -1, 3]' in text
    assert 'name: "attention_conv1" data_type: TYPE_FP32 dims: [-1, -1]' in text
    assert 'name: "descriptor" data_type: TYPE_FP32 dims: [3]' in text
    assert "dims: [24, 32, 3] random_data: true" in text
    for key, value in (("min", 16), ("max", 64), ("multiple", 8)):
        assert f'key: "size_{key}" value: {{ string_value: "{value}" }}' in text
    assert "dims: [24, 32] }" in config(repository, "free-encoded")
    assert "dims: [24, 32, 3] }" in config(repository, "free-decode")


def described(repository: Path) -> dict[str, object]:
    """What the configuration of plain-encoded tells clients."""
    line = config(repository, "plain-encoded").splitlines()[-1]
    start, end = 'parameters { key: "attnvgg" value: { string_value: ', " } }"
    assert line.startswith(start)
    found: dict[str, object] = json.loads(json.loads(line[len(start) : -len(end)]))
    return found


def test_clients_are_told_what_tensors_do_not_say(tmp_path: Path, repository: Path) -> None:
    """Labels of any characters; the graph's sha256 under each version, in their order."""
    labels = ("p\u00e2t\u00e9 \U0001f431", 'a "quoted" one', "back\\slash {}")
    for version in ("2", "10"):
        plain_bundle(tmp_path / "models" / "plain" / version, labels=labels, gain=int(version))
    write(tmp_path / "models", repository, PYTHON)
    assert described(repository) == {
        "labels": list(labels),
        "height": 24,
        "width": 32,
        "geometry": "stretch",
        "provider": "triton:python:cpu",
        "sha256": {v: sha256(repository / "plain" / v / "model.onnx") for v in ("2", "10")},
    }
    assert config(repository, "plain-encoded").isascii()
    assert "sha256" not in config(repository, "plain")  # it would load all versions again


def test_versions_whose_bundles_are_gone_keep_their_sha256(models: Path, repository: Path) -> None:
    write(models, repository, PYTHON)
    before = described(repository)["sha256"]
    shutil.rmtree(models / "plain" / "1")
    write(models, repository, Options("python", max_batch=2))
    assert described(repository)["sha256"] == before


@pytest.mark.parametrize(
    ("options", "backend", "kind"),
    [
        (Options(), "onnxruntime", "GPU"),
        (Options(kind="cpu"), "onnxruntime", "CPU"),
        (Options("python"), "python", "CPU"),
        (Options("python", kind="gpu"), "python", "GPU"),
    ],
)
def test_the_processor_follows_the_backend(
    options: Options, backend: str, kind: str, models: Path, repository: Path
) -> None:
    write(models, repository, options)
    text = config(repository, "plain")
    assert f'backend: "{backend}"' in text
    assert f"kind: KIND_{kind}" in text


def test_nothing_written_imports_ours(models: Path, repository: Path) -> None:
    write(models, repository, PYTHON)
    allowed = {"numpy", "onnxruntime", "PIL", "triton_python_backend_utils"}
    allowed |= sys.stdlib_module_names
    files = list(repository.rglob("*.py"))
    assert len(files) == 6
    for path in files:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, path
                names = [node.module or ""]
            assert {name.split(".")[0] for name in names} <= allowed, path


def test_preprocess_is_copied_to_the_byte(models: Path, repository: Path) -> None:
    write(models, repository, Options())
    copied = repository / "plain-decode" / "2" / "preprocess.py"
    assert copied.read_bytes() == Path(preprocess.__file__).read_bytes()


def test_parts_keep_their_names_and_a_format_takes_its_own(
    tmp_path: Path, repository: Path
) -> None:
    folder = tmp_path / "models" / "plain" / "1"
    plain_bundle(folder, parts=True)
    plain_bundle(tmp_path / "other" / "1", gain=3, graph="model.int8.onnx", parts=True)
    files = json.loads((folder / "manifest.json").read_text())["files"]
    files |= json.loads((tmp_path / "other" / "1" / "manifest.json").read_text())["files"]
    for path in (tmp_path / "other" / "1").glob("model.*"):
        shutil.copy(path, folder)
    edit(folder, files=files)
    write(tmp_path / "models", repository, Options())
    write(tmp_path / "models", tmp_path / "small", Options(format="int8"))
    names = {p.name for p in (repository / "plain" / "1").iterdir()}
    assert names == {"model.onnx", "model.onnx.data00", "manifest.json"}
    version = tmp_path / "small" / "plain" / "1"
    assert {p.name for p in version.iterdir()} == names - {"model.onnx.data00"} | {
        "model.int8.onnx.data00"
    }
    assert (version / "model.onnx").read_bytes() == (folder / "model.int8.onnx").read_bytes()


def test_a_second_run_touches_nothing(models: Path, repository: Path) -> None:
    write(models, repository, PYTHON)
    before = snapshot(repository)
    lines = write(models, repository, PYTHON)
    assert snapshot(repository) == before
    assert lines[:2] == ["kept      plain version 1", "kept      plain version 2"]


def test_a_new_version_appears_beside_the_old_one(models: Path, repository: Path) -> None:
    shutil.move(models / "plain" / "2", models.parent / "later")
    write(models, repository, PYTHON)
    (repository / "foreign" / "1").mkdir(parents=True)
    before = snapshot(repository)
    shutil.move(models.parent / "later", models / "plain" / "2")
    lines = write(models, repository, PYTHON)
    after = snapshot(repository)
    for path, (inode, changed, content) in before.items():
        # A model's folder has a new entry, the ensemble lists another sha256, and that is all.
        if Path(path).name in ("plain", "plain-decode", "plain-encoded"):
            assert after[path][0] == inode
        elif path != str(repository / "plain-encoded" / "config.pbtxt"):
            assert after[path] == (inode, changed, content), path
    assert (repository / "plain" / "2" / "model.onnx").is_file()
    assert lines[:2] == ["kept      plain version 1", "written   plain version 2"]


def test_other_flags_replace_the_configuration_and_nothing_else(
    models: Path, repository: Path
) -> None:
    write(models, repository, PYTHON)
    before = snapshot(repository)
    lines = write(models, repository, Options("python", instances=4))
    after = snapshot(repository)
    path = str(repository / "plain" / "config.pbtxt")
    assert after[path][0] != before[path][0]
    assert "count: 4" in config(repository, "plain")
    changed = {key for key in before if before[key] != after[key]}
    assert changed == {path, str(repository / "plain")}
    assert lines[2] == "written   plain/config.pbtxt"


def test_what_left_the_models_folder_stays_and_is_named(models: Path, repository: Path) -> None:
    plain_bundle(models / "old" / "1")
    write(models, repository, PYTHON)
    before = snapshot(repository)
    shutil.rmtree(models / "plain" / "1")
    shutil.rmtree(models / "old")
    lines = write(models, repository, PYTHON)
    assert snapshot(repository) == before
    assert "left      plain version 1, which is not in MODELS_DIR" in lines
    assert "left      old, which is not in MODELS_DIR" in lines


def test_code_of_another_release_stays_and_is_named(models: Path, repository: Path) -> None:
    write(models, repository, PYTHON)
    with (repository / "plain-decode" / "1" / "preprocess.py").open("a") as file:
        file.write("# as it was then\n")
    before = snapshot(repository)
    lines = write(models, repository, PYTHON)
    assert snapshot(repository) == before
    remark = "kept      plain-decode version 1, with the preprocess.py of another release"
    assert lines[2] == remark


def another_graph(models: Path) -> None:
    shutil.rmtree(models / "plain" / "2")
    plain_bundle(models / "plain" / "2", gain=5)


def another_part(models: Path) -> None:
    shutil.rmtree(models / "parts" / "1")
    plain_bundle(models / "parts" / "1", gain=5, parts=True)


def other_labels(models: Path) -> None:
    """Of version 3, while 1, which is only in the repository, has the old ones."""
    shutil.rmtree(models / "plain")
    plain_bundle(models / "plain" / "3", labels=("red", "green", "black"))


def name_of_an_ensemble(models: Path) -> None:
    """Whose own bundle is gone, so that the two names meet in the repository only."""
    shutil.rmtree(models / "plain")
    plain_bundle(models / "plain-encoded" / "3")


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (name_of_an_ensemble, PYTHON, "plain-encoded versions 1 and 3 .*: name is plain and plain"),
        (another_graph, PYTHON, r"plain/2/model\.onnx is not .*; a version is never changed"),
        (another_part, PYTHON, r"parts/1/model\.onnx\.data00 is not "),
        (lambda models: None, Options(), "parts/1 was written for another --backend"),
        (
            other_labels,
            PYTHON,
            'versions 1 and 3 cannot share one config.pbtxt: labels is .*"blue".* and .*"black"',
        ),
    ],
)
def test_what_was_written_is_never_changed(
    change: Change, options: Options, message: str, models: Path, repository: Path
) -> None:
    plain_bundle(models / "another" / "1")
    plain_bundle(models / "parts" / "1", parts=True)
    write(models, repository, PYTHON)
    shutil.rmtree(repository / "another")
    before = snapshot(repository)
    change(models)
    with pytest.raises(RepositoryError, match=message):
        write(models, repository, options)
    assert snapshot(repository) == before


def foreign(models: Path) -> None:
    folder = models.parent / "triton-models" / "plain-encoded"
    folder.mkdir(parents=True)
    (folder / "config.pbtxt").write_text('name: "plain-encoded"\n')


def renamed(name: str, version: str = "1") -> Change:
    return lambda models: plain_bundle(models / name / version)


def changed_in_both(**values: object) -> Change:
    def change(models: Path) -> None:
        for version in "12":
            edit(models / "plain" / version, **values)

    return change


def emptied(models: Path) -> None:
    shutil.rmtree(models)
    models.mkdir()


def damaged(models: Path) -> None:
    with (models / "plain" / "2" / "model.onnx").open("ab") as file:
        file.write(b"\0")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (damaged, IntegrityError, r"plain/2: model\.onnx has sha256"),
        (foreign, RepositoryError, "plain-encoded exists and `attnvgg-export triton` did not"),
        (renamed("plain", "0"), RepositoryError, "version is '0'; Triton takes whole numbers"),
        (renamed("plain", "01"), RepositoryError, "version is '01'"),
        (renamed("plain", "٣"), RepositoryError, "version is '٣'"),
        (renamed("plain", "9" * 19), RepositoryError, "version is '9999"),
        (renamed("plain", "v3"), RepositoryError, "version is 'v3'"),
        (renamed('p"lain'), RepositoryError, "name is 'p\"lain'; Triton's names may have"),
        (renamed("plain-encoded"), RepositoryError, "'plain-encoded' has the name of a model"),
        (renamed("plain-decode"), RepositoryError, "'plain-decode' has the name of a model"),
        (
            lambda models: edit(models / "plain" / "1", name="other"),
            ManifestError,
            "plain/1 holds other/1; the folders must have those names",
        ),
        (
            lambda models: edit(models / "plain" / "2", labels=["a", "b", "c"]),
            RepositoryError,
            'plain.* versions 1 and 2 cannot share one config.pbtxt: labels is .*"red"',
        ),
        (
            lambda models: edit(
                models / "plain" / "2",
                input={"height": 24, "width": 32, "geometry": "stretch", "filter": "box"},
            ),
            RepositoryError,
            r"input\.filter is bicubic and box; export one under another name",
        ),
        (
            changed_in_both(labels=["a", "b\n0.9", "c"]),
            RepositoryError,
            r"label 'b\\n0.9' has a line break",
        ),
        (
            lambda models: edit(models / "plain" / "2", files={}),
            RepositoryError,
            r"plain/2 has no model\.onnx, which --format onnx needs",
        ),
        (shutil.rmtree, RepositoryError, "MODELS_DIR is .*, which is no folder"),
        (emptied, ManifestError, "holds no bundle"),
        (
            lambda models: (models.parent / "triton-models").write_text(""),
            RepositoryError,
            "triton-models, which is a file; it must be a folder",
        ),
    ],
)
def test_what_triton_could_not_serve_is_refused_before_anything_is_written(
    change: Change, error: type[Exception], message: str, models: Path, repository: Path
) -> None:
    plain_bundle(models / "another" / "1")
    change(models)
    before = snapshot(repository) if repository.exists() else None
    with pytest.raises(error, match=message):
        write(models, repository, PYTHON)
    assert (snapshot(repository) if repository.exists() else None) == before
    assert not list(repository.parent.glob(".*"))


def test_unfinished_bundles_are_passed_over(
    models: Path, repository: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(models / "plain" / "1", models / "plain" / ".3.tmp-77")
    (models / "plain" / "3").mkdir()
    with caplog.at_level(logging.WARNING):
        write(models, repository, PYTHON)
    assert {p.name for p in (repository / "plain").iterdir() if p.is_dir()} == {"1", "2"}
    assert "plain/3 has no manifest.json: no bundle (yet)" in caplog.text


def full(after: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full when as many files were copied."""
    real, count = shutil.copyfile, iter(range(1000))

    def copyfile(source: Path, target: Path) -> None:
        if next(count) == after:
            target.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        real(source, target)

    monkeypatch.setattr(shutil, "copyfile", copyfile)


@pytest.mark.parametrize("after", [0, 5, 11])
def test_a_full_disk_leaves_nothing_half_written(
    after: int, models: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        full(after, patch)
        with pytest.raises(RepositoryError, match="cannot be written: No space left on device"):
            write(models, repository, PYTHON)
    assert [p.name for p in repository.parent.iterdir()] == ["models"]
    shutil.move(models / "plain" / "2", models.parent / "later")
    write(models, repository, PYTHON)
    before = snapshot(repository)
    shutil.move(models.parent / "later", models / "plain" / "2")
    full(after % 6, monkeypatch)
    with pytest.raises(RepositoryError, match="No space left on device"):
        write(models, repository, PYTHON)
    contents = {key: value[2] for key, value in snapshot(repository).items()}
    assert contents == {key: value[2] for key, value in before.items()}


def test_a_kill_leaves_nothing_in_the_repository(models: Path, repository: Path) -> None:
    """Only a folder beside it, which Triton does not look into; the next run succeeds."""
    code = """
import os, pathlib, shutil, sys
from attnvgg_export.triton_options import Options
from attnvgg_export.triton_repository import write
real = shutil.copyfile
def copyfile(source, target):
    if target.match("plain/2/*"):
        os._exit(9)
    real(source, target)
shutil.copyfile = copyfile
write(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), Options("python"))
"""
    command = [sys.executable, "-c", code, models, repository]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (9, "")
    assert list(repository.iterdir()) == []
    assert len(list(repository.parent.glob(".triton-models.tmp-*"))) == 1
    write(models, repository, PYTHON)
    assert (repository / "plain" / "2" / "model.onnx").is_file()


def test_a_mounted_volume_is_written_from_within(
    models: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing can be renamed into it from beside it."""
    real, started = os.rename, []

    def rename(source: Path, target: Path) -> None:
        if repository not in source.parents:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        started.append(source.parent)
        real(source, target)

    monkeypatch.setattr(os, "rename", rename)
    write(models, repository, PYTHON)
    assert {path.parent for path in started} == {repository}
    names = sorted(p.name for p in repository.iterdir())
    assert names == ["plain", "plain-decode", "plain-encoded"]
    assert sorted(p.name for p in repository.parent.iterdir()) == ["models", "triton-models"]


def test_a_folder_that_a_killed_run_left_in_a_volume_is_named(
    models: Path, repository: Path, caplog: pytest.LogCaptureFixture
) -> None:
    left = repository / ".triton-models.tmp-x"
    left.mkdir(parents=True)
    with caplog.at_level(logging.WARNING):
        write(models, repository, PYTHON)
    assert f"{left} is of a run that was killed, or still runs" in caplog.text
    assert left.is_dir()


def test_the_command_line(
    models: Path, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["triton", str(models), "--repository", str(repository), "--max-batch", "4"]
    assert main([*given, "--backend", "python", "--queue-delay-us", "0"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 6
    text = config(repository, "plain")
    assert "max_batch_size: 4" in text
    assert "max_queue_delay_microseconds: 0\n" in text
    assert main([*given, "--queue-timeout-ms", "0"]) == 2
    error = capsys.readouterr().err
    assert "RepositoryError: --queue-timeout-ms is 0; it must be a whole number from 1" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"backend": "tensorrt"}, "--backend is 'tensorrt'; it must be one of onnxruntime, python"),
        ({"kind": "tpu"}, "--kind is 'tpu'; it must be one of gpu, cpu"),
        ({"format": "torchscript"}, "--format is 'torchscript'; it must be one of onnx, int8, f"),
        ({"max_batch": 0}, "--max-batch is 0; it must be a whole number from 1"),
        ({"instances": -1}, "--instances is -1; it must be a whole number from 1"),
        ({"decoders": 0}, "--decoders is 0"),
        ({"max_queue": 0}, "--max-queue is 0"),
        ({"max_queue": 2**31}, "--max-queue is 2147483648"),
        ({"queue_delay_us": -1}, "--queue-delay-us is -1; it must be a whole number from 0"),
        ({"threads": -1}, "--threads is -1; it must be a whole number from 0"),
    ],
)
def test_a_wrong_flag_is_named_with_its_value(flags: dict[str, object], message: str) -> None:
    with pytest.raises(RepositoryError, match=message):
        Options(**flags)  # type: ignore[arg-type]


def test_it_needs_no_torch_and_no_onnx() -> None:
    code = "import sys, attnvgg_export.triton_repository\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert not {"torch", "onnx", "onnxruntime", "numpy", "PIL"} & set(done.stdout.split())


def backend(name: str, monkeypatch: pytest.MonkeyPatch, **modules: object) -> dict[str, object]:
    """What a file for Triton's Python backend defines, with stand-ins for what it imports."""
    utils = types.SimpleNamespace(Tensor=lambda name, values: None)
    for key, module in {"triton_python_backend_utils": utils, **modules}.items():
        monkeypatch.setitem(sys.modules, key, module)
    path = triton_plan.BACKEND / name
    names: dict[str, object] = {"__name__": "model"}
    exec(compile(path.read_text(), path, "exec"), names)
    return names


class Session:
    """onnxruntime's, on a machine where CUDA's libraries are missing."""

    def __init__(self, path: str, options: object, providers: list[object]) -> None:
        self.asked = providers

    def get_providers(self) -> list[str]:
        return ["CPUExecutionProvider"]

    def disable_fallback(self) -> None:
        self.fallback = False


class SessionOptions:
    def add_session_config_entry(self, key: str, value: str) -> None: ...


def test_a_session_that_fell_back_to_the_cpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = types.SimpleNamespace(InferenceSession=Session, SessionOptions=SessionOptions)
    open_session = backend("infer.py", monkeypatch, onnxruntime=runtime)["open_session"]
    assert open_session("model.onnx", "CPU", 0, 1).fallback is False  # type: ignore[operator]
    with pytest.raises(RuntimeError, match="needs CUDAExecutionProvider and the session has only"):
        open_session("model.onnx", "GPU", 0, 1)  # type: ignore[operator]
    asked: list[object] = []
    monkeypatch.setattr(
        Session, "get_providers", lambda self: asked.extend(self.asked) or ["CUDAExecutionProvider"]
    )
    open_session("model.onnx", "GPU", 1, 1)  # type: ignore[operator]
    assert asked == [("CUDAExecutionProvider", {"device_id": 1}), "CPUExecutionProvider"]


def test_a_run_fetches_what_any_request_wants_and_each_gets_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One run of the graph a batch; a picture of a wrong size takes no part in it."""
    fetched: list[list[str]] = []

    def run(names: list[str], given: dict[str, np.ndarray]) -> list[np.ndarray]:
        fetched.append(names)
        return [given["image"][:, 0, 0, 0] + 10 * index for index, _ in enumerate(names)]

    def request(batch: int, side: int, *names: str) -> object:
        image = np.full((batch, side, side, 3), batch, np.uint8)
        tensor = types.SimpleNamespace(as_numpy=lambda: image)
        return types.SimpleNamespace(image=tensor, requested_output_names=lambda: list(names))

    utils = types.SimpleNamespace(
        Tensor=lambda name, values: (name, values.tolist()),
        InferenceResponse=lambda tensors, error=None: error or tensors,
        get_input_tensor_by_name=lambda request, name: getattr(request, name),
    )
    utils.TritonError = type("Error", (), {"INVALID_ARG": 3, "__new__": lambda *each: each[1:]})
    monkeypatch.setitem(sys.modules, "onnxruntime", types.ModuleType("onnxruntime"))
    names = backend("infer.py", monkeypatch, triton_python_backend_utils=utils)
    limits = {"size_min": "16", "size_max": "64", "size_multiple": "8"}
    model = names["TritonPythonModel"]()  # type: ignore[operator]
    model.image, model.sizes = "image", names["Sizes"](limits)  # type: ignore[operator]
    model.outputs = ["probabilities", "attention_conv1", "descriptor"]
    model.session = types.SimpleNamespace(run=run)
    requests = [request(1, 16, "descriptor"), request(2, 20, "descriptor")]
    requests += [request(3, 16, "descriptor", "probabilities")]
    first, (message, code), last = model.execute(requests)
    assert fetched == [["probabilities", "descriptor"]]
    assert first == [("descriptor", [11])]
    assert message.startswith("invalid_request: the pictures are 20 x 20 pixels; both sides must")
    assert code == 3
    assert last == [("probabilities", [3, 3, 3]), ("descriptor", [13, 13, 13])]


@pytest.mark.parametrize("name", ["infer.py", "decode.py"])
def test_only_a_numpy_that_triton_misreads_is_refused(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = backend(name, monkeypatch)["check_numpy"]
    monkeypatch.delitem(sys.modules, "numpy.core.multiarray", raising=False)
    check()  # type: ignore[operator]
    monkeypatch.setitem(sys.modules, "numpy.core.multiarray", types.ModuleType("old"))
    with pytest.raises(RuntimeError, match=f"misreads the arrays of numpy {np.__version__}"):
        check()  # type: ignore[operator]
    monkeypatch.setattr(np, "__version__", "1.26.4")
    check()  # type: ignore[operator]
