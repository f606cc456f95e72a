"""The line that says how far a long job is."""

import io
import os
import pty
import sys
import threading
import time
from typing import Any

import pytest

from attnvgg_client import _progress
from attnvgg_client._progress import Progress, line


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("done", "total", "seconds", "expected"),
    [
        (0, 10, 0.0, "0/10   0% [                    ] 0.0/s"),
        (37, 120, 3.0, "37/120  31% [######              ] 12.3/s, 0:07 left"),
        (10, 7200, 10.0, "10/7200   0% [                    ] 1.0/s, 1:59:50 left"),
        (10, 10, 2.0, "10/10 100% [####################] 5.0/s"),
        (12, 10, 2.0, "12/10 100% [####################] 6.0/s"),
        (0, 0, 0.0, "0/0 100% [####################] 0.0/s"),
        (12, None, 4.0, "12 done, 3.0/s, 0:04"),
    ],
)
def test_what_is_drawn(done: int, total: int | None, seconds: float, expected: str) -> None:
    assert line(done, total, seconds) == expected


def test_one_line_with_the_last_state_at_its_end() -> None:
    stream = Terminal()
    with Progress(3, stream) as progress:
        for _ in range(3):
            progress.advance()
    drawn = stream.getvalue()
    assert drawn.startswith("\r0/3 ")
    assert drawn.endswith("/s\n")
    assert "3/3 100%" in drawn
    assert drawn.count("\n") == 1
    progress.close()
    progress.advance()
    assert stream.getvalue() == drawn


def test_drawing_is_rare(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_progress, "PAUSE", 60)
    stream = Terminal()
    progress = Progress(None, stream)
    for _ in range(1000):
        progress.advance()
    assert stream.getvalue().count("\r") == 1
    progress.close()
    assert "1000 done" in stream.getvalue()


def test_a_shorter_line_leaves_nothing_of_a_longer_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_progress, "PAUSE", 0)
    stream = Terminal()
    progress = Progress(2, stream)
    progress.advance(1)
    progress.clear()
    *_, drawn, blank, _ = stream.getvalue().split("\r")
    assert drawn.startswith("1/2")
    assert blank == " " * len(drawn)


@pytest.mark.parametrize("stream", [io.StringIO(), object(), None])
def test_nothing_where_there_is_no_terminal(
    stream: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if stream is None:
        monkeypatch.setattr(sys, "stderr", None)
    with Progress(2, stream) as progress:
        progress.advance(2)
        progress.clear()
    assert progress.done == 2
    assert capsys.readouterr() == ("", "")
    if isinstance(stream, io.StringIO):
        assert stream.getvalue() == ""


@pytest.mark.parametrize("error", [BrokenPipeError("gone"), ValueError("closed"), OSError(5, "io")])
def test_a_stream_that_fails_does_not_end_the_job(error: Exception) -> None:
    class Failing(Terminal):
        def write(self, text: str) -> int:
            raise error

    with Progress(2, Failing()) as progress:
        progress.advance()
    assert progress.done == 1


def test_on_a_real_terminal_it_fits_the_width(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = pty.openpty()
    monkeypatch.setattr(os, "get_terminal_size", lambda fd: os.terminal_size((20, 5)))
    with os.fdopen(theirs, "w") as terminal:
        progress = Progress(100, terminal)
        progress.advance(50)
        progress.close()
        drawn = ""
        while not drawn.endswith("\n"):  # a terminal hands over what it has, when it has it
            drawn += os.read(ours, 4096).decode()
    os.close(ours)
    assert "50/100  50% [######" in drawn
    assert max(len(piece) for piece in drawn.replace("\n", "\r").split("\r")) == 19


def test_threads_lose_no_count() -> None:
    progress = Progress(None, io.StringIO())

    def many() -> None:
        for _ in range(2000):
            progress.advance()
            if progress.done % 500 == 0:
                time.sleep(0)

    threads = [threading.Thread(target=many) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert progress.done == 8000
