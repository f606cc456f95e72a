"""The command `attnvgg bench`: what it asks, prints, draws and returns."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from attnvgg_client import _bench_pictures, _cli

Output = pytest.CaptureFixture[str]
FAST = ["--duration", "0.5", "--warmup", "0.1", "--in-flight", "64"]


@pytest.fixture(autouse=True)
def _server(fake_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATTNVGG_URL", fake_url)


@pytest.fixture
def answer(fake: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Replaces what the server says to its n-th question for a prediction, counted from 0; gives
    the list of these questions."""

    def use(say: Any) -> list[httpx.Request]:
        asked: list[httpx.Request] = []
        usual = type(fake).__call__

        def respond(self: Any, request: httpx.Request) -> httpx.Response:
            if request.url.path != "/v1/predict":
                return usual(self, request)
            asked.append(request)
            return say(len(asked) - 1, request) or usual(self, request)

        monkeypatch.setattr(type(fake), "__call__", respond)
        return asked

    return use


def run(*arguments: object) -> int:
    return _cli.main(["bench", *(str(argument) for argument in arguments)])


def rows(capsys: Output) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["rows"]
    return found


def test_an_open_loop_at_two_rates(fake_url: str, capsys: Output) -> None:
    assert run("--rate", "20,40", *FAST) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0] == f"{fake_url}: tiny/1 (sha256 abababababab) on cpu"
    assert lines[1].startswith("one picture made for this, a JPEG of 640x480, ")
    assert lines[1].endswith(" bytes; 1 a request, without attention maps")
    assert lines[2] == (
        "open loop, Poisson arrivals of seed 0; latency in ms from when a request was due; "
        "0.1 s of warm-up"
    )
    assert lines[4].split()[:3] == ["answered", "failed", "answers/s"]
    assert [line.split()[:3] for line in lines[5:7]] == [["20/s", "10", "0"], ["40/s", "20", "0"]]
    assert lines[9].split()[:5] == ["decode", "queue", "inference", "total", "elsewhere"]
    assert lines[10].split()[:5] == ["20/s", "1.00", "0.50", "2.00", "4.00"]
    assert "- stands where fewer than 5 latencies lie beyond a percentile" in out
    assert err == ""


def test_a_closed_loop_as_json(photo_path: Path, fake_url: str, capsys: Output) -> None:
    given = ["--concurrency", "1,3", "--requests", 30, "--attention", "--json", "--warmup", 0.1]
    assert run(photo_path, *given) == 0
    out = capsys.readouterr().out
    found = json.loads(out)
    assert len(out.splitlines()) == 1
    assert set(found) == {
        *("attnvgg_client", "python", "httpx", "numpy", "started", "url", "options", "pictures"),
        *("model", "rows", "warnings"),
    }
    assert found["url"] == fake_url
    assert found["options"]["concurrencies"] == [1, 3]
    assert found["options"]["requests"] == 30
    assert found["options"]["attention"] is True
    assert found["pictures"] == {
        **{"count": 1, "bytes": photo_path.stat().st_size, "ignored": 0, "made": False}
    }
    assert found["model"]["sha256"] == "ab" * 32
    assert os.uname().nodename not in out.replace(fake_url, "")
    for row, callers in zip(found["rows"], (1, 3), strict=True):
        assert (row["rate"], row["concurrency"]) == (None, callers)
        assert row["requests"] == row["answered"] == 30
        assert row["failed"] == row["unfinished"] == 0
        assert row["models"] == [found["model"] | {"answered": 30}]
        assert row["latency_ms"]["p50"] > 0
        assert row["latency_ms"]["p99"] is None
        assert len(row["quantiles_ms"]) == 1001
        assert row["quantiles_ms"] == sorted(row["quantiles_ms"])
        assert row["quantiles_ms"][-1] == pytest.approx(row["latency_ms"]["max"], abs=1e-3)
        assert row["server_ms"] == {"decode": 1, "queue": 0.5, "inference": 2, "total": 4}
        assert row["service_ms"] == pytest.approx(row["latency_ms"]["mean"], abs=5)
        assert row["generator"]["cores"] > 0


def test_an_open_loop_as_json(capsys: Output) -> None:
    assert run("--rate", 40, *FAST, "--json", "--arrivals", "even", "--seed", 3) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["options"]["arrivals"], found["options"]["seed"]) == ("even", 3)
    assert (found["options"]["rates"], found["options"]["in_flight"]) == ([40], 64)
    assert found["pictures"]["made"] is True
    (row,) = found["rows"]
    assert (row["rate"], row["concurrency"], row["answered"]) == (40, None, 20)
    assert row["generator"]["lateness"]["beyond_ms"] == 10
    assert row["generator"]["lateness"]["max_ms"] > 0


def test_errors_are_counted_by_their_code_and_nothing_is_retried(
    fake: Any, answer: Any, capsys: Output
) -> None:
    def say(number: int, request: httpx.Request) -> Any:
        kind = number % 6
        if number == 0 or kind == 0:
            return None
        if kind == 1:
            return fake.error(503, "overloaded", Retry_After="1")
        if kind == 2:
            return fake.error(429, "rate_limited", Retry_After="1")
        if kind == 3:
            return fake.error(504, "deadline_exceeded")
        if kind == 4:
            return httpx.Response(200, json={"predictions": []})
        return httpx.Response(502, text="a proxy")

    asked = answer(say)
    assert run("--concurrency", 1, "--requests", 60, "--warmup", 0, "--json") == 1
    (row,) = rows(capsys)
    found = {code: failure["requests"] for code, failure in row["failures"].items()}
    assert found == dict.fromkeys(
        ["overloaded", "rate_limited", "deadline_exceeded", "protocol", "http_502"], 10
    )
    assert "about overloaded" in row["failures"]["overloaded"]["example"]
    assert (row["requests"], row["answered"], row["failed"]) == (60, 10, 50)
    assert len(asked) == 60 + 1
    assert run("--concurrency", 1, "--requests", 12, "--warmup", 0) == 1
    out = capsys.readouterr().out
    assert "1 caller: 2 failed, rate_limited: about rate_limited (429 rate_limited" in out


def test_timeouts_count_too(answer: Any, capsys: Output) -> None:
    def say(number: int, request: httpx.Request) -> Any:
        time.sleep(1.5 if number == 3 else 0)

    answer(say)
    assert run("--rate", 20, *FAST, "--timeout", 1, "--json") == 1
    (row,) = rows(capsys)
    assert row["failures"]["deadline"]["requests"] == 1
    assert row["answered"] == 9


def test_a_batch(answer: Any, photo: bytes, pictures_in: Any, tmp_path: Path, capsys: Any) -> None:
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        (tmp_path / name).write_bytes(photo + name.encode())
    asked = answer(lambda number, request: None)
    given = ["--concurrency", 1, "--requests", 6, "--warmup", 0, "--batch", 2]
    assert run(tmp_path, *given) == 0
    sent = [[part[-5:-4] for part in pictures_in(request)] for request in asked[1:4]]
    assert sent == [[b"a", b"b"], [b"c", b"a"], [b"b", b"c"]]
    head, line = capsys.readouterr().out.splitlines()[4:6]
    assert head.split()[:4] == ["answered", "failed", "answers/s", "pictures/s"]
    assert float(line.split()[5]) == pytest.approx(2 * float(line.split()[4]), abs=0.11)
    (tmp_path / "b.jpg").write_bytes(photo + b"damaged")
    assert run(tmp_path, *given, "--json") == 1
    (row,) = rows(capsys)
    assert row["failures"]["invalid_image"]["requests"] == row["failed"] == 4
    assert row["pictures_per_s"] == pytest.approx(row["requests_per_s"] * 8 / 6)


def test_a_model_that_changes_is_not_averaged(fake: Any, answer: Any, capsys: Output) -> None:
    def say(number: int, request: httpx.Request) -> None:
        version = "2" if number > 10 else "1"
        fake.extra = {"model": {"name": "tiny", "version": version, "sha256": "", "provider": "p"}}

    answer(say)
    assert run("--concurrency", 1, "--requests", 20, "--warmup", 0, "--json") == 1
    found = json.loads(capsys.readouterr().out)
    (row,) = found["rows"]
    assert set(row["latency_ms"].values()) == {None}
    assert (row["quantiles_ms"], row["server_ms"]) == ([], {})
    assert {model["version"]: model["answered"] for model in row["models"]} == {"1": 10, "2": 10}
    assert "the model changed while it ran (tiny/1 on p, tiny/2 on p)" in found["warnings"][0]


def test_a_plot(tmp_path: Path, capsys: Output) -> None:
    pytest.importorskip("matplotlib")
    out = tmp_path / "out.png"
    out.write_bytes(b"an older one")
    assert run("--rate", 40, *FAST, "--plot", out) == 0
    with Image.open(out) as image:
        assert image.size == (1200, 540)
    assert [path.name for path in tmp_path.iterdir()] == ["out.png"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--rate", "0"], 2, "'0' is not from 0.001"),
        (["--rate", "ten"], 2, "'ten' is not from 0.001"),
        (["--rate", "nan"], 2, "'nan' is not from 0.001"),
        (["--concurrency", "1,2.5"], 2, "'2.5' is not from 1 to 1,000"),
        (["--rate", "1", "--concurrency", "1"], 2, "not allowed with"),
        ([], 2, "one of the arguments --rate --concurrency is required"),
        (["--rate", "0.1", "--duration", "2"], 2, "is 0 requests"),
        (["--rate", "9", "--plot", "x.gif"], 2, "--plot x.gif: the name must end in .png, .svg"),
        (["--rate", "9", "--plot", "/nowhere/x.png"], 2, "a file in a folder that is there"),
        (["--rate", "9", "--timeout", "0"], 2, "timeout is 0"),
        (["/nowhere.jpg", "--rate", "9"], 2, "'/nowhere.jpg' cannot be read"),
        (["http://127.0.0.1:9/x.jpg", "--rate", "9"], 2, "bench takes files and folders"),
        (["--rate", "9", "--url", "http://127.0.0.1:9"], 3, "http://127.0.0.1:9 cannot be reached"),
    ],
)
def test_what_cannot_be_measured_is_not_asked(
    arguments: list[str], code: int, message: str, answer: Any, capsys: Output
) -> None:
    asked = answer(lambda number, request: None)
    try:
        found: Any = run(*arguments)
    except SystemExit as left:  # argparse's way
        found = left.code
    assert found == code
    assert asked == []
    out, err = capsys.readouterr()
    assert message in err
    assert out == ""


@pytest.mark.parametrize(
    ("status", "error"),
    [(404, "model_not_found"), (401, "unauthorized"), (400, "invalid_image")],
)
def test_a_refusal_altogether_ends_it_at_once(
    status: int, error: str, fake: Any, answer: Any, capsys: Output
) -> None:
    asked = answer(lambda number, request: fake.error(status, error))
    assert run("--rate", 9) == 4
    out, err = capsys.readouterr()
    assert error in err
    assert (out, len(asked)) == ("", 1)


def test_a_busy_server_is_measured_all_the_same(fake: Any, answer: Any, capsys: Output) -> None:
    answer(lambda number, request: fake.error(503, "overloaded"))
    assert run("--rate", 20, *FAST) == 1
    out = capsys.readouterr().out
    assert "too busy to say which model answers" in out
    assert "20/s: 10 failed, overloaded: about overloaded" in out


def test_a_plot_without_matplotlib_fails_before_the_load(
    answer: Any, tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = answer(lambda number, request: None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert run("--rate", 9, "--plot", tmp_path / "x.png") == 2
    assert "pip install 'attnvgg-client[plot]'" in capsys.readouterr().err
    assert asked == []


def test_pictures_are_bounded(
    photo: bytes, tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        (tmp_path / f"{number}.jpg").write_bytes(photo)
    monkeypatch.setattr(_bench_pictures, "MAX_PICTURES", 3)
    found = _bench_pictures.read([str(tmp_path)])
    assert (len(found.pictures), found.ignored) == (3, 2)
    assert str(found) == f"3 pictures, {3 * len(photo):,} bytes; 2 more left out to save memory"
    monkeypatch.setattr(_bench_pictures, "MAX_BYTES", len(photo) * 2)
    assert len(_bench_pictures.read([str(tmp_path)]).pictures) == 2


def test_the_picture_made_is_always_the_same_and_like_a_photograph() -> None:
    data = _bench_pictures.photograph()
    assert data == _bench_pictures.photograph()
    assert 50_000 < len(data) < 200_000  # noise would have 300,000, a gradient 10,000
    (picture,) = _bench_pictures.read([]).pictures
    assert (picture.data, picture.media_type) == (data, "image/jpeg")


def test_ctrl_c_shows_what_there_is(fake_url: str, answer: Any, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    asked = answer(lambda number, request: None)
    script = (
        "import signal, sys; from attnvgg_client._cli import main;"
        # A shell that starts this in the background has it ignored.
        "signal.signal(signal.SIGINT, signal.default_int_handler); sys.exit(main())"
    )
    given = ["--rate", "20", "--warmup", "0", "--duration", "60", "--in-flight", "16"]
    plot = tmp_path / "out.png"
    process = subprocess.Popen(
        [sys.executable, "-c", script, "bench", *given, "--url", fake_url, "--plot", str(plot)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    end = time.monotonic() + 60
    while len(asked) < 10 and time.monotonic() < end:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    try:
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, err) == (130, b"")
    assert plot.read_bytes().startswith(b"\x89PNG")
    lines = out.decode().splitlines()
    assert lines[5].split()[0] == "20/s"
    assert 3 <= int(lines[5].split()[1]) < 500
    assert any(line.startswith("20/s: interrupted after ") for line in lines)


def test_help_says_what_the_loops_are(capsys: Output) -> None:
    with pytest.raises(SystemExit):
        run("--help")
    out = capsys.readouterr().out
    for word in ("--rate", "--concurrency", "--plot", "so that waiting counts", "exit codes:"):
        assert word in out


def test_the_options_cost_no_heavy_import() -> None:
    script = (
        "import sys; from attnvgg_client import _cli_bench;"
        "print({n.split('.')[0] for n in sys.modules} & {'numpy', 'PIL', 'httpx', 'asyncio'})"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True)
    assert run.stdout == "set()\n"
