"""The command as a process: killed, interrupted, at a pipe's end, on a full disk, at a terminal."""

import asyncio
import contextlib
import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from attnvgg_client import _cli_terminal

pty = pytest.importorskip("pty")

COMMAND = [sys.executable, "-c", "from attnvgg_client._cli import main; exit(main())", "predict"]
COUNT = 150


@pytest.fixture
def fake(fake: Any) -> Iterator[Any]:
    """Answers `limit` requests and lets the others wait until `gate` is open."""

    class Waiting(type(fake)):  # type: ignore[misc]
        limit, count, gate, lock = 10**6, 0, threading.Event(), threading.Lock()

        def __call__(self, request: Any) -> Any:
            with self.lock:
                self.count += 1
                late = self.count > self.limit
            if late:
                self.gate.wait(60)
            return super().__call__(request)

    waiting = Waiting()
    yield waiting
    waiting.gate.set()


@pytest.fixture
def folder(photo: bytes, tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(COUNT):
        (folder / f"{number:03}.jpg").write_bytes(photo + b"damaged" * (number in (3, 140)))
    return folder


@pytest.fixture
def start(fake_url: str, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts `attnvgg predict` in tmp_path."""
    started: list[subprocess.Popen[bytes]] = []

    def begin(*arguments: object, **options: Any) -> subprocess.Popen[bytes]:
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        # What a buffer still holds when Python exits is half of what can go wrong.
        pipes["env"] = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
        command = [*COMMAND, *map(str, arguments), "--url", fake_url]
        process = subprocess.Popen(command, cwd=tmp_path, **pipes | options)
        started.append(process)
        return process

    yield begin
    for process in started:
        with process:
            process.kill()


def ended(process: subprocess.Popen[bytes]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, (out or b"").decode(), (err or b"").decode()


def wait_for_lines(part: Path, count: int) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        with contextlib.suppress(FileNotFoundError):
            if part.read_bytes().count(b"\n") >= count:
                return
        time.sleep(0.005)
    raise AssertionError(f"{part} did not grow")


@pytest.mark.parametrize("name", ["o.csv", "o.jsonl"])
def test_killed_and_continued_it_writes_the_same_file(
    name: str, folder: Path, tmp_path: Path, start: Any, fake: Any
) -> None:
    part = tmp_path / f"{name}.part"
    for lines in (20, 40):
        fake.count, fake.limit = 0, 4
        process = start("pictures", "--out", name, "--concurrency", "2")
        wait_for_lines(part, lines)
        process.kill()
        process.wait()
        assert not (tmp_path / name).exists()
    done = part.read_bytes().count(b"\n") - name.endswith("csv")
    fake.limit = 10**6
    code, out, err = ended(start("pictures", "--out", name))
    assert (code, out) == (1, "")
    assert err.startswith(f"attnvgg: {done} of {COUNT} were done already\n")
    assert ended(start("pictures", "--out", f"full-{name}"))[0] == 1
    assert (tmp_path / name).read_bytes() == (tmp_path / f"full-{name}").read_bytes()
    assert not part.exists()


def test_interrupted_it_ends_at_once_and_says_how_far_it_came(
    folder: Path, tmp_path: Path, start: Any, fake: Any
) -> None:
    fake.limit = 5
    process = start("pictures", "--out", "o.csv", "--timeout", "60")
    wait_for_lines(tmp_path / "o.csv.part", 20)
    process.send_signal(signal.SIGINT)
    sent = time.monotonic()
    code, out, err = ended(process)
    assert time.monotonic() - sent < 10
    assert (code, out) == (130, "")
    done = (tmp_path / "o.csv.part").read_bytes().count(b"\n") - 1
    last = err.splitlines()[-1]
    assert last == f"attnvgg: {done} of {COUNT} are in o.csv.part; the same command continues"


def test_interrupted_while_its_reader_pauses(folder: Path, start: Any) -> None:
    process = start("pictures", "--json", "--attention")  # more than a pipe holds
    process.stdout.read(1)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 130


def test_a_reader_that_pauses_holds_up_nothing_but_the_writing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data, read = b"12345678\n" * 50_000, bytearray()  # more than a pipe holds
    reading, writing = os.pipe()

    def drain() -> None:
        while block := os.read(reading, 2**16):
            read.extend(block)

    async def run() -> None:
        task = asyncio.create_task(_cli_terminal.write_slowly(data))
        await asyncio.sleep(0.1)
        assert not task.done()  # and what else there is to do is done
        reader = threading.Thread(target=drain)
        reader.start()
        await task
        sys.stdout.close()
        reader.join(10)

    monkeypatch.setattr(sys, "stdout", os.fdopen(writing, "w"))
    late = threading.Timer(5, drain)  # whoever blocks is let go, and found out
    late.daemon = True
    late.start()
    try:
        asyncio.run(run())
    finally:
        late.cancel()
        sys.stdout.close()
    assert read == data
    os.close(reading)


@pytest.mark.parametrize("flags", [[], ["--json"], ["--csv"]])
def test_a_reader_that_has_seen_enough_ends_it_quietly(
    flags: list[str], folder: Path, start: Any
) -> None:
    (folder / "003.jpg").unlink()
    process = start("pictures", *flags)
    assert process.stdout.readline()
    process.stdout.close()
    process.stdout = None
    assert ended(process) == (1, "", "")


def test_a_full_disk_is_one_line_and_no_torn_one(folder: Path, tmp_path: Path, start: Any) -> None:
    def small() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4321, resource.RLIM_INFINITY))

    code, _, err = ended(start("pictures", "--out", "o.csv", "--quiet", preexec_fn=small))
    assert code == 1
    assert err.splitlines()[-1] == "attnvgg: o.csv.part cannot be written: File too large"
    assert 4000 < (tmp_path / "o.csv.part").stat().st_size < 4321
    assert (tmp_path / "o.csv.part").read_bytes().endswith(b"\n")
    assert ended(start("pictures", "--out", "o.csv"))[0] == 1
    assert (tmp_path / "o.csv").read_bytes().count(b"\n") == COUNT + 1


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("flags", [[], ["--json"], ["--csv"]])
def test_an_output_that_is_full_is_one_line(flags: list[str], folder: Path, start: Any) -> None:
    with open("/dev/full", "wb") as full:
        code, _, err = ended(start("pictures/000.jpg", *flags, stdout=full))
    assert (code, err) == (
        1,
        "attnvgg: standard output cannot be written: No space left on device\n",
    )


def test_an_output_that_is_closed_is_one_line(folder: Path, start: Any) -> None:
    process = start("pictures/000.jpg", stdout=None, preexec_fn=lambda: os.close(1))
    assert ended(process) == (1, "", "attnvgg: standard output is closed\n")


class Terminal:
    """What a process shows on a terminal of its own."""

    def __init__(self) -> None:
        self._master, self.slave = pty.openpty()
        self._text = bytearray()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            while block := os.read(self._master, 4096):
                self._text += block

    def shown(self) -> str:
        """All of it, once the process has ended."""
        os.close(self.slave)
        self._thread.join()
        os.close(self._master)
        return self._text.decode().replace("\r\n", "\n")


def test_progress_on_a_terminal_and_complaints_beside_it(
    folder: Path, tmp_path: Path, start: Any
) -> None:
    terminal = Terminal()
    code, out, _ = ended(start("pictures", "--csv", stderr=terminal.slave))
    text = terminal.shown()
    assert (code, out.count("\n")) == (1, COUNT + 1)
    assert re.match(r"\r0/150 +0% \[", text)
    assert "\r150/150 100% [####" in text
    lines = [line.rsplit("\r", 1)[-1].rstrip() for line in text.splitlines()]  # as it is seen
    complaints = [line for line in lines if line.endswith("damaged")]
    assert complaints == [f"attnvgg: pictures/{name}.jpg: damaged" for name in ("003", "140")]
    assert lines[-2].startswith("150/150 100%")
    assert lines[-1].startswith("attnvgg: 150 pictures, 2 failed, ")


@pytest.mark.parametrize("flags", [["--quiet", "--out", "o.csv"], []])
def test_no_progress_where_it_is_not_wanted_or_in_the_way(
    flags: list[str], folder: Path, start: Any
) -> None:
    terminal = Terminal()
    process = start("pictures", *flags, stdout=terminal.slave, stderr=terminal.slave)
    assert ended(process)[0] == 1
    text = terminal.shown()
    assert "\r" not in text
    assert "%" not in text.replace("circle 75.0%, square 25.0%", "")
    assert ("150 pictures" in text) == (not flags)
