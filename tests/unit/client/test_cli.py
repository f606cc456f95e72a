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


def test_a_long_name_is_shown_whole(tmp_path: Path, capsys: Output) -> None:
    path = tmp_path / ("long" * 40) / "none.jpg"
    assert run("predict", path) == 1
    assert capsys.readouterr().err == (
        f"attnvgg: '{path}' cannot be read: No such file or directory\n"
    )


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


def test_models_and_health(fake_url: str, capsys: Output) -> None:
    assert run("models") == 0
    table = [
        "MODEL  VERSION  LABELS  MAPS                       PROVIDER  SHA256",
        "tiny   1        3       conv7,conv10,conv13,fused  cpu       abababababab  default",
    ]
    assert capsys.readouterr().out.splitlines() == table
    assert run("models", "--json") == 0
    assert json.loads(capsys.readouterr().out)["labels"] == ["circle", "square", "triangle"]
    assert run("health", "--wait", 5) == 0
    assert capsys.readouterr().out == f"{fake_url} is ready\n"
    assert run("health", "--json") == 0
    found = {"url": fake_url, "ready": True, "detail": ""}
    assert json.loads(capsys.readouterr().out) == found


def test_a_server_that_is_not_ready(
    fake: Any, fake_url: str, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    starting = fake.error(503, "engine_unavailable")
    monkeypatch.setattr(type(fake), "__call__", lambda self, request: starting)
    assert run("health", "--json") == 3
    out, err = capsys.readouterr()
    assert json.loads(out)["ready"] is False
    assert err.startswith(f"attnvgg: {fake_url} is not ready: about engine_unavailable")


def test_a_table_is_as_wide_as_its_widest_cell() -> None:
    from attnvgg_client import _commands

    assert _commands._table([("A", "B", ""), ("图图", "x", "y")]) == ["A     B", "图图  x  y"]


def test_attention_for_people(
    photo_path: Path, expected_maps: dict[str, Any], capsys: Output
) -> None:
    assert run("predict", photo_path, "--attention") == 0
    first, *levels = capsys.readouterr().out.splitlines()
    assert first.endswith("circle 75.0%, square 25.0%")
    assert [line.split()[0] for line in levels] == ["conv7", "conv10", "conv13", "fused"]
    a = expected_maps["conv10"]
    peak, (row, column) = f"{a.max() * 64:.1f}", divmod(int(a.argmax()), 8)
    assert levels[1] == (
        f"  conv10  8 x 8, peak {peak} times uniform at row {row}, column {column} (counted from 0)"
    )


def test_attention_of_a_network_without(
    fake: Any, photo_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = fake.prediction(None, True)[0] | {"attention": {}}
    monkeypatch.setattr(type(fake), "prediction", lambda self, format, binary: (bare, b""))
    assert run("predict", photo_path, "--attention") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:] == ["  no attention maps: the network has none"]


def test_many_pictures_end_in_a_summary(photo: bytes, tmp_path: Path, capsys: Output) -> None:
    for number in range(18):
        (tmp_path / f"{number:02}.jpg").write_bytes(photo + b"damaged" * (number == 7))
    assert run("predict", tmp_path) == 1
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 17
    complaint, summary = err.splitlines()
    assert complaint == f"attnvgg: {tmp_path}/07.jpg: damaged"
    assert summary.startswith("attnvgg: 18 pictures, 1 failed, ")
    assert summary.endswith(" pictures/s")
    assert run("predict", tmp_path, "--quiet") == 1
    assert capsys.readouterr().err.splitlines() == [complaint]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["predict", "{photo}", "--overlay", "/nowhere/out.png"], 2, "there is no folder /nowhere"),
        (["predict", "{photo}", "--overlay", "out.bmp"], 2, "must end in one of .png, .jpg"),
        (["predict", "{photo}", "--overlay", "{photo}"], 2, "would overwrite a picture given"),
        (["predict", "{photo}", "--top-k", "0"], 2, "top_k is 0"),
        (["predict", "{photo}", "--level", "x", "--overlay", "{out}"], 1, "level is 'x'"),
        (["predict", "{photo}", "--level", "conv7"], 2, "give --overlay"),
        (["predict", "{photo}", "--csv", "--attention"], 2, "--json has the maps"),
        (["predict", "{photo}", "--csv", "--json"], 2, "not allowed with argument"),
        (["predict", "{photo}", "--concurrency", "0"], 2, "concurrency is 0"),
        (["predict", "{photo}", "--top-k", "some"], 2, "invalid int value: 'some'"),
        (["predict"], 2, "PICTURE (see attnvgg predict --help)"),
        (["nonsense"], 2, "invalid choice: 'nonsense'"),
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


def test_labels_cannot_drive_the_terminal(
    fake: Any, photo_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = fake.prediction(None, True)[0]
    item["top_k"][0]["label"] = "a\x1b[31m\nb\u202eé"
    monkeypatch.setattr(type(fake), "prediction", lambda self, format, binary: (item, b""))
    assert run("predict", photo_path) == 0
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert "a\\x1b[31m\\nb\\u202eé 75.0%" in out


COMMAND = [sys.executable, "-c", "from attnvgg_client._cli import main; exit(main())"]


@pytest.mark.parametrize("verb", [[], ["predict"], ["models"], ["health"], ["bench"]])
def test_every_help_says_what_the_exit_codes_mean(verb: list[str]) -> None:
    run = subprocess.run([*COMMAND, *verb, "--help"], capture_output=True, text=True, check=True)
    for text in ("exit codes:\n  0    all is well\n", "  130  interrupted", "ATTNVGG_API_KEY"):
        assert text in run.stdout
    assert "--api-key" not in run.stdout
    assert max(map(len, run.stdout.splitlines())) <= 100
    for other in verb or ("predict", "models", "health", "bench"):
        assert (f"\n  attnvgg {other} " if verb else f"\n    {other} ") in f"{run.stdout} "


def test_the_installed_command_has_a_version() -> None:
    run = subprocess.run([*COMMAND, "--version"], capture_output=True, text=True, check=True)
    assert run.stdout.startswith("attnvgg-client ")


def test_help_loads_nothing_heavy() -> None:
    script = "import sys; from attnvgg_client import _cli; _cli._parser(); print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert {"httpx", "numpy", "PIL", "asyncio", "matplotlib"}.isdisjoint(run.stdout.split())
