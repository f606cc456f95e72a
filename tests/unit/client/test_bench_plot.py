"""The plots of `attnvgg bench`: whole files of the right kind, with what they are about."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from attnvgg_client import InvalidArgumentError, _bench_plot
from attnvgg_client._bench_schedule import Load
from attnvgg_client._bench_statistics import Row, summarise
from attnvgg_client._bench_tally import Outcome, Tally


def row(rate: float | None = 100.0, answers: int = 600, slowest: float = 0.02) -> Row:
    tally = Tally(start=0.0, end=10.0)
    for place in range(answers):
        due = 10 * place / answers
        tally.due.append(due)
        tally.sent.append(due)
        tally.done.append(due + 0.01 + slowest * (place / answers) ** 4)
        tally.arrived.append(due)
        tally.arrived_pictures.append(1)
    tally.fail(5.0, Outcome("overloaded"))
    return summarise(Load(rate, 8, 10.0, 0.0), tally)


@pytest.mark.parametrize(
    ("suffix", "magic"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".PDF", b"%PDF")]
)
def test_files(suffix: str, magic: bytes, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    out = tmp_path / f"out{suffix}"
    out.write_bytes(b"an older one")
    _bench_plot.write(str(out), [row()], "a title")
    assert out.read_bytes().startswith(magic)
    assert [path.name for path in tmp_path.iterdir()] == [out.name]
    if suffix == ".png":
        with Image.open(out) as image:
            assert image.size == (1200, 540)
            assert len(image.convert("RGB").getcolors(2**20) or []) > 20
    if suffix == ".svg":
        assert len(out.read_bytes()) < 300_000  # the dots are one picture, not a path each


def test_one_load_is_its_distribution_and_its_course() -> None:
    pytest.importorskip("matplotlib")
    figure = _bench_plot.draw([row()], "a title")
    left, right = figure.axes
    (curve,), (dots,) = left.lines, right.lines
    tails, latencies = (np.asarray(values) for values in curve.get_data())
    # Of 600 answers the slowest is where one in 600 is slower.
    assert (tails[0], tails[-1]) == (1, pytest.approx(600))
    assert tails[540] == pytest.approx(10)
    assert latencies[540] == pytest.approx(row().latencies[540])
    assert [label.get_text() for label in left.get_xticklabels()] == ["0 %", "50 %", "90 %", "99 %"]
    assert len(np.asarray(dots.get_xdata())) == 600
    assert "due" in right.get_xlabel()
    assert "1 failed" in right.get_title()
    assert "sent" in _bench_plot.draw([row(None)], "").axes[1].get_xlabel()
    assert figure.get_suptitle() == "a title"


def test_several_loads_are_latency_against_throughput() -> None:
    pytest.importorskip("matplotlib")
    rows = [row(50.0, 500), row(100.0, 1000), row(200.0, 2000, slowest=3.0)]
    (axes,) = _bench_plot.draw(rows, "").axes
    assert [line.get_label() for line in axes.lines] == ["p50", "p90", "p99"]
    for line in axes.lines:
        assert list(np.asarray(line.get_xdata())) == [50, 100, 200]
    assert [text.get_text() for text in axes.texts] == ["50/s", "100/s", "200/s"]
    assert axes.get_yscale() == "log"
    assert _bench_plot.draw(rows[:2], "").axes[0].get_yscale() == "linear"


def test_little_or_nothing_can_be_drawn_too(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    for rows in ([row(answers=0)], [row(answers=1)], [row(answers=0)] * 2, [row(answers=9)] * 2):
        _bench_plot.write(str(tmp_path / "out.png"), rows, "")


@pytest.mark.parametrize("name", ["x.gif", "x", "nowhere/x.png", "folder.png"])
def test_what_cannot_be_written_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(InvalidArgumentError, match=f"--plot {name}: "):
        _bench_plot.check(name)


def test_what_can_be_written_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    for name in ("x.png", str(tmp_path / "x.SVG")):
        _bench_plot.check(name)
    assert list(tmp_path.iterdir()) == []


def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(path: Any, mode: int) -> bool:
        return False

    monkeypatch.setattr("os.access", never)
    with pytest.raises(InvalidArgumentError, match="no permission"):
        _bench_plot.check(str(tmp_path / "x.png"))
