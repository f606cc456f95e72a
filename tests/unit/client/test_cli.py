"""The command `attnvgg`: what it prints, writes and returns."""

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from attnvgg_client import _cli

Output = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _server(fake_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATTNVGG_URL", fake_url)


def run(*arguments: object) -> int:
    return _cli.main([str(argument) for argument in arguments])


def test_predict_with_an_overlay(photo_path: Path, tmp_path: Path, capsys: Output) -> None:
    out = tmp_path / "out.png"
    assert run("predict", photo_path, "--overlay", out) == 0
    assert capsys.readouterr() == (f"{photo_path}: circle 75.0%, square 25.0%\n", "")
    with Image.open(out) as image:
        assert (image.size, image.format) == ((40, 30), "PNG")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.png", "photo.jpg"]


def test_several_pictures_go_into_a_folder(photo: bytes, tmp_path: Path, capsys: Output) -> None:
    names = ["a/x.jpg", "b/x.jpg", "b/broken.jpg", "b/y.jpg"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(photo + (b"damaged" if "broken" in name else b""))
    folder = tmp_path / "new" / "maps"
    pictures = [tmp_path / name for name in names]
    assert run("predict", *pictures, tmp_path / "none.jpg", "--overlay", folder) == 1
    written = sorted(path.name for path in folder.iterdir())
    assert written == ["x-2.overlay.png", "x.overlay.png", "y.overlay.png"]
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 3
    assert err.splitlines() == [
        f"attnvgg: {tmp_path}/b/broken.jpg: damaged",
        f"attnvgg: '{tmp_path}/none.jpg' cannot be read: No such file or directory",
    ]


def test_json(photo_path: Path, capsys: Output) -> None:
    assert run("predict", photo_path, "/nowhere.jpg", "--json") == 1
    good, bad = map(json.loads, capsys.readouterr().out.splitlines())
    assert (good["file"], good["label"], "attention" in good) == (str(photo_path), "circle", False)
    assert bad["error"]["code"] == "unreadable"
    assert run("predict", photo_path, "--json", "--attention") == 0
    assert len(json.loads(capsys.readouterr().out)["attention"]["conv13"]) == 4


def test_standard_input(photo: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(photo)))
    assert run("predict", "-", "--overlay", f"{tmp_path}/") == 0
    assert (tmp_path / "stdin.overlay.png").is_file()
    assert run("predict", "-", "-") == 2


def test_models_and_health(capsys: Output) -> None:
    assert run("models") == 0
    line = "tiny/1: 3 labels, maps conv7, conv10, conv13, fused, on cpu, the default\n"
    assert capsys.readouterr().out == line
    assert run("models", "--json") == 0
    assert json.loads(capsys.readouterr().out)["labels"] == ["circle", "square", "triangle"]
    assert run("health", "--wait", 5) == 0
    assert capsys.readouterr().out == "ready\n"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["predict", "{photo}", "--overlay", "/nowhere/out.png"], 2, "there is no folder /nowhere"),
        (["predict", "{photo}", "--overlay", "out.bmp"], 2, "must end in one of .png, .jpg"),
        (["predict", "{photo}", "--overlay", "{photo}"], 2, "would overwrite a picture given"),
        (["predict", "{photo}", "--top-k", "0"], 2, "top_k is 0"),
        (["predict", "{photo}", "--level", "x", "--overlay", "{out}"], 1, "level is 'x'"),
        (["models", "--url", "nonsense"], 2, "url is 'nonsense'"),
        (["models", "--url", "http://127.0.0.1:9"], 3, "http://127.0.0.1:9 cannot be reached"),
        (["health", "--url", "http://127.0.0.1:9", "--wait", "0.1"], 3, "not ready within 0.1 s"),
        (["models", "--url", "{url}/elsewhere"], 4, "404 not_found"),
    ],
)
def test_errors_are_one_line_and_a_code(
    arguments: list[str],
    code: int,
    message: str,
    photo_path: Path,
    fake_url: str,
    capsys: Output,
) -> None:
    given = {"photo": photo_path, "out": photo_path.with_name("out.png"), "url": fake_url}
    assert run(*(argument.format(**given) for argument in arguments)) == code
    err = capsys.readouterr().err
    assert message in err
    assert len(err.splitlines()) == 1
    assert err.startswith("attnvgg: ")


def test_an_overlay_that_cannot_be_written_leaves_nothing(
    photo_path: Path, tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: Any, **options: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    out = tmp_path / "out.png"
    assert run("predict", photo_path, "--overlay", out) == 1
    assert "out.png cannot be written: No space left" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["photo.jpg"]


def test_labels_cannot_drive_the_terminal(fake: Any, photo_path: Path, capsys: Output) -> None:
    from attnvgg_client import _commands

    assert _commands.printable("a\x1b[31m\nb\udc80é") == "a?[31m?b?é"


def test_the_installed_command_has_help_and_a_version() -> None:
    command = [sys.executable, "-c", "from attnvgg_client._cli import main; main()"]
    shown = subprocess.run([*command, "--help"], capture_output=True, text=True, check=True).stdout
    assert "exit codes:" in shown
    assert "ATTNVGG_API_KEY" in shown
    for verb in ("predict", "models", "health"):
        assert verb in shown
    run = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True)
    assert run.stdout.startswith("attnvgg-client ")
    assert subprocess.run([*command, "nonsense"], capture_output=True, check=False).returncode == 2
