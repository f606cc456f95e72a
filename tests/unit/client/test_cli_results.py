"""--out: a file that is there whole or not at all, and a run that goes on where one ended."""

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from attnvgg_client import _cli, _cli_part, _cli_results
from attnvgg_client._cli_formats import Csv

Output = pytest.CaptureFixture[str]
COUNT = 23
BAD = (0, 9, 22)


@pytest.fixture
def asked() -> list[bytes]:
    """Every picture that the server was sent."""
    return []


@pytest.fixture
def fake(fake: Any, asked: list[bytes], pictures_in: Callable[[Any], list[bytes]]) -> Any:
    """Tells pictures apart: the probability is the number that the file ends in."""
    here = threading.local()

    class Telling(type(fake)):  # type: ignore[misc]
        def __call__(self, request: Any) -> Any:
            if request.url.path == "/v1/predict":
                files = pictures_in(request)
                asked.extend(files)
                here.good = [file for file in files if not file.endswith(b"damaged")]
            return super().__call__(request)

        def prediction(self, format: str | None, binary: bool) -> Any:
            item, tail = super().prediction(format, binary)
            item["probability"] = int(here.good.pop(0)[-3:]) / 1000
            return item, tail

    return Telling()


@pytest.fixture(autouse=True)
def _server(fake_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATTNVGG_URL", fake_url)


@pytest.fixture
def folder(photo: bytes, tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    for number in range(COUNT):
        path = folder / f"{number % 2}" / f'{number:03},"\n.jpg'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(photo + (b"damaged" if number in BAD else b"%03d" % number))
    return folder


def run(*arguments: object) -> int:
    return _cli.main(["predict", *map(str, arguments)])


@pytest.mark.parametrize("flags", [["--csv"], ["--json", "--attention"]])
@pytest.mark.parametrize("share", [0, 0.004, 0.05, 0.3, 0.5001, 0.77, 0.98, 1])
def test_a_run_goes_on_where_one_ended(
    flags: list[str], share: float, folder: Path, tmp_path: Path, asked: list[bytes], capsys: Output
) -> None:
    full, out = tmp_path / "full", tmp_path / "out"
    assert run(folder, "--out", full, *flags) == 1
    whole = full.read_bytes()
    (tmp_path / "out.part").write_bytes(whole[: int(len(whole) * share)])
    asked.clear()
    capsys.readouterr()
    assert run(folder, "--out", out, *flags) == 1
    assert out.read_bytes() == whole
    assert not (tmp_path / "out.part").exists()
    first, *others = capsys.readouterr().err.splitlines()
    done = int(first.split()[1]) if "were done already" in first else 0
    assert len(asked) == COUNT - done
    assert abs(done - share * COUNT) <= 2
    assert others[-1:] or first.startswith(f"attnvgg: {COUNT} pictures, {len(BAD)} failed, ")


def test_lines_are_cut_off_within_a_name_too(folder: Path, tmp_path: Path) -> None:
    full, part = tmp_path / "full.csv", tmp_path / "out.csv.part"
    run(folder, "--out", full)
    whole = full.read_bytes()
    start = whole.index(b"004,")
    for end in range(start, start + 12, 2):
        part.write_bytes(whole[:end])
        assert run(folder, "--out", tmp_path / "out.csv") == 1
        assert (tmp_path / "out.csv").read_bytes() == whole
        (tmp_path / "out.csv").unlink()


def test_bad_pictures_are_not_asked_again_and_still_count(
    folder: Path, tmp_path: Path, asked: list[bytes], capsys: Output
) -> None:
    assert run(folder, "--out", tmp_path / "a.jsonl") == 1
    (tmp_path / "a.jsonl").rename(tmp_path / "b.jsonl.part")
    asked.clear()
    capsys.readouterr()
    arguments = [folder, "--out", tmp_path / "b.jsonl", "--url", "http://127.0.0.1:9"]
    assert run(*arguments) == 1  # with the server away: there is nothing left to ask
    assert asked == []
    note, summary = capsys.readouterr().err.splitlines()
    assert note == f"attnvgg: {COUNT} of {COUNT} were done already"
    assert summary.startswith(f"attnvgg: {COUNT} pictures, 3 failed, ")
    assert (tmp_path / "b.jsonl").is_file()


def test_a_picture_given_twice_has_two_lines(photo_path: Path, tmp_path: Path) -> None:
    photo_path.write_bytes(photo_path.read_bytes() + b"001")
    out = tmp_path / "o.jsonl"
    run(photo_path, photo_path, "--out", out)
    first, second = out.read_text().splitlines()
    assert first == second
    out.unlink()
    (tmp_path / "o.jsonl.part").write_text(first + "\n")
    assert run(photo_path, photo_path, "--out", out) == 0
    assert out.read_text().splitlines() == [first, second]


def test_what_exists_is_not_touched(photo_path: Path, tmp_path: Path, capsys: Output) -> None:
    out = tmp_path / "x.csv"
    out.write_text("mine")
    assert run(photo_path, "--out", out) == 2
    assert f"{out} exists" in capsys.readouterr().err
    assert out.read_text() == "mine"
    assert sorted(tmp_path.iterdir()) == [photo_path, out]


@pytest.mark.parametrize(
    ("name", "flags", "message"),
    [
        ("x.txt", [], "must end in one of .jsonl, .ndjson, .json, .csv, or"),
        ("x.csv", ["--json"], "--json does not go with"),
        ("x.JSON", ["--csv"], "--csv does not go with"),
        ("x.csv", ["--attention"], "--json has the maps"),
        ("none/x.csv", [], "there is no folder"),
        ("x.csv", ["--top-k", "0"], "top_k is 0"),
        ("x.csv", ["--timeout", "-1"], "timeout is -1"),
        ("x.csv", ["--url", "nonsense"], "url is 'nonsense'"),
        ("dir.csv", [], "dir.csv.part cannot be written: Is a directory"),
    ],
)
def test_mistakes_leave_nothing(
    name: str, flags: list[str], message: str, photo_path: Path, tmp_path: Path, capsys: Output
) -> None:
    (tmp_path / "dir.csv.part").mkdir()
    assert run(photo_path, "--out", tmp_path / name, *flags) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dir.csv.part", "photo.jpg"]


OTHER = {"name": "tiny", "version": "1", "sha256": "cd" * 32, "provider": "cpu"}


@pytest.mark.parametrize(
    ("before", "now", "message"),
    [
        (["--csv"], ["--csv", "--top-k", "2"], "has other columns"),
        (["--csv"], ["--json"], "was not written by such a run: line 1 "),
        (["--json"], ["--csv"], "has other columns"),
        (["--json"], ["--json", "--attention"], "has no attention maps"),
        (["--json", "--attention"], ["--json"], "has the attention maps"),
        (["--json"], ["--json", "--top-k", "1"], "has 2 labels, more than 1"),
    ],
)
def test_another_commands_part_is_refused_and_kept(
    before: list[str],
    now: list[str],
    message: str,
    folder: Path,
    tmp_path: Path,
    asked: list[bytes],
    capsys: Output,
) -> None:
    run(folder, "--out", tmp_path / "first", *before)
    data = (tmp_path / "first").read_bytes()[:-5]
    refused(folder, tmp_path, data, now, message, capsys, asked)


OTHERS = (b"PK\x03\x04 not mine", b"a,b\n1,2\n", b"{}\n")


@pytest.mark.parametrize(
    ("flag", "data"),
    [
        *((flag, data) for flag in ("--csv", "--json") for data in OTHERS),
        ("--csv", b'{"file": 1'),  # with --json such a start is taken for ours
    ],
)
def test_somebody_elses_part_is_refused_and_kept(
    data: bytes, flag: str, folder: Path, tmp_path: Path, asked: list[bytes], capsys: Output
) -> None:
    refused(folder, tmp_path, data, [flag], "to start anew", capsys, asked)


def test_a_part_about_other_pictures_is_refused_and_kept(
    folder: Path, photo_path: Path, tmp_path: Path, asked: list[bytes], capsys: Output
) -> None:
    run(folder, "--out", tmp_path / "first", "--csv")
    data = (tmp_path / "first").read_bytes()[:-5]
    refused(photo_path, tmp_path, data, ["--csv"], "is about other pictures", capsys, asked)


def refused(
    pictures: Path,
    tmp_path: Path,
    data: bytes,
    flags: list[str],
    message: str,
    capsys: Output,
    asked: list[bytes],
) -> None:
    part = tmp_path / "out.part"
    part.write_bytes(data)
    capsys.readouterr()
    asked.clear()
    assert run(pictures, "--out", tmp_path / "out", *flags) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.endswith("; to start anew, remove it or name another file\n")
    assert err.count("\n") == 1
    assert part.read_bytes() == data
    assert asked == []


@pytest.mark.parametrize("flag", ["--csv", "--json"])
def test_another_models_part_is_refused(
    flag: str, folder: Path, tmp_path: Path, fake: Any, capsys: Output
) -> None:
    run(folder, "--out", tmp_path / "first", flag)
    lines = (tmp_path / "first").read_bytes()
    data = lines[: lines.index(b"011,")]
    (tmp_path / "out.part").write_bytes(data)
    fake.extra = {"model": OTHER}
    capsys.readouterr()
    assert run(folder, "--out", tmp_path / "out", flag) == 2
    err = capsys.readouterr().err
    assert f"lines of tiny/1 (sha256 {'ab' * 8}), this run gives tiny/1 (sha256 {'cd' * 8})" in err
    whole = (tmp_path / "out.part").read_bytes()
    assert data.startswith(whole)  # but for the line that lacked its end
    assert whole.endswith(b"\n")


def test_a_model_that_changes_meanwhile_ends_the_run(
    folder: Path, tmp_path: Path, fake: Any, asked: list[bytes], capsys: Output
) -> None:
    answer = type(fake).prediction

    def changing(self: Any, format: str | None, binary: bool) -> Any:
        if len(asked) > 12:
            self.extra = {"model": OTHER}
        return answer(self, format, binary)

    type(fake).prediction = changing
    assert run(folder, "--out", tmp_path / "o.jsonl", "--concurrency", "1") == 4
    assert "the model changed from tiny/1 (sha256 abab" in capsys.readouterr().err.splitlines()[-1]
    lines = (tmp_path / "o.jsonl.part").read_text().splitlines()
    found = [json.loads(line) for line in lines]
    assert 0 < len(found) < COUNT
    assert {values["model"]["sha256"] for values in found if "model" in values} == {"ab" * 32}


def test_two_runs_do_not_write_one_file(folder: Path, tmp_path: Path, capsys: Output) -> None:
    out = tmp_path / "o.csv"
    other = _cli_results.ResultFile(out, Csv(5))
    assert run(folder, "--out", out) == 2
    assert f"another run is writing {out}.part" in capsys.readouterr().err
    other.close()
    assert run(folder, "--out", out) == 1


def test_a_part_that_became_the_file_just_now_is_not_written(
    folder: Path, tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, part, lock = tmp_path / "o.csv", tmp_path / "o.csv.part", _cli_part._lock

    def late(file: Any) -> bool:
        part.rename(out)
        return lock(file)

    monkeypatch.setattr(_cli_part, "_lock", late)
    assert run(folder, "--out", out) == 2
    assert "another run" in capsys.readouterr().err


def test_a_file_that_appears_meanwhile_is_not_overwritten(
    photo_path: Path, tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo_path.write_bytes(photo_path.read_bytes() + b"001")
    out, finish = tmp_path / "o.csv", _cli_results.ResultFile.finish

    def late(self: Any) -> None:
        out.write_text("mine")
        finish(self)

    monkeypatch.setattr(_cli_results.ResultFile, "finish", late)
    assert run(photo_path, "--out", out) == 1
    assert f"{out} exists by now; the results are in {out}.part" in capsys.readouterr().err
    assert out.read_text() == "mine"
    assert (tmp_path / "o.csv.part").read_text().count("\n") == 2


def test_a_server_that_goes_away_leaves_what_was_done(
    folder: Path, tmp_path: Path, fake: Any, asked: list[bytes], capsys: Output
) -> None:
    answer = type(fake).__call__

    def failing(self: Any, request: Any) -> Any:
        return answer(self, request) if len(asked) < 10 else self.error(401, "unauthorized")

    type(fake).__call__ = failing
    arguments = [folder, "--out", tmp_path / "o.csv", "--concurrency", "1"]
    assert run(*arguments) == 4
    note, error = capsys.readouterr().err.splitlines()[-2:]
    assert error.startswith("attnvgg: about unauthorized (401")
    assert f" of {COUNT} are in {tmp_path}/o.csv.part; the same command continues" in note
    type(fake).__call__ = answer
    assert run(*arguments) == 1
    assert run(folder, "--out", tmp_path / "full.csv") == 1
    assert (tmp_path / "o.csv").read_bytes() == (tmp_path / "full.csv").read_bytes()


def test_nobody_there_leaves_nothing(photo_path: Path, tmp_path: Path) -> None:
    arguments = [photo_path, "--out", tmp_path / "o.csv", "--url", "http://127.0.0.1:9"]
    assert run(*arguments, "--timeout", "0.2") == 3
    assert os.listdir(tmp_path) == ["photo.jpg"]


def test_overlays_of_a_continued_run(folder: Path, tmp_path: Path) -> None:
    full, out = tmp_path / "full.csv", tmp_path / "out.csv"
    run(folder, "--out", full, "--overlay", tmp_path / "a")
    data = full.read_bytes()
    (tmp_path / "out.csv.part").write_bytes(data[: data.index(b"009,")])
    run(folder, "--out", out, "--overlay", tmp_path / "b")

    def drawn(name: str) -> set[Path]:
        return {path.relative_to(tmp_path / name) for path in (tmp_path / name).rglob("*.png")}

    assert len(drawn("a")) == COUNT - len(BAD)
    assert drawn("b") < drawn("a")
    assert len(drawn("b")) > 5
