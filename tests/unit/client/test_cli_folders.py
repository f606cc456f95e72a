"""Folders on the command line: which pictures they stand for, and where their overlays go."""

import io
import os
import sys
from pathlib import Path

import pytest

from attnvgg_client import _cli, _cli_files, _overlay_files
from attnvgg_client._errors import InvalidArgumentError

Output = pytest.CaptureFixture[str]


def fill(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    return folder


def found(folder: Path) -> list[str]:
    return [os.path.relpath(name, folder) for name in _cli_files.gather([str(folder)]).names]


def test_a_folder_is_its_pictures_in_sorted_order(tmp_path: Path) -> None:
    wanted = ["B.PNG", "a/1.jpeg", "a/b/2.WebP", "a/c.jpg", "b.jpg", "c/3.png"]
    left = ["a.txt", ".d.jpg", ".git/e.jpg", "a/.f/g.png", "x.jpg.part", "b.overlay.png", "jpg"]
    fill(tmp_path, *reversed(wanted), *left)
    os.mkfifo(tmp_path / "pipe.jpg")
    assert found(tmp_path) == wanted
    with_slash = _cli_files.gather([f"{tmp_path}/"]).names
    assert with_slash == [str(tmp_path / name) for name in wanted]


def test_links_are_followed_and_loops_are_not(tmp_path: Path) -> None:
    folder = fill(tmp_path / "f", "a/1.jpg", "b/2.jpg")
    elsewhere = fill(tmp_path / "elsewhere", "3.jpg")
    (folder / "a" / "up").symlink_to(folder)
    (folder / "c").symlink_to(elsewhere)
    (folder / "d").symlink_to(elsewhere)
    (folder / "itself.jpg").symlink_to("itself.jpg")
    (folder / "nowhere.jpg").symlink_to("nothing")
    (folder / "nowhere").symlink_to("nothing")
    assert found(folder) == ["a/1.jpg", "b/2.jpg", "c/3.jpg", "itself.jpg", "nowhere.jpg"]


def test_a_folder_without_pictures_is_an_error(tmp_path: Path, capsys: Output) -> None:
    fill(tmp_path, "f/a.txt", "f/.hidden.jpg")
    assert _cli.main(["predict", str(tmp_path / "f"), "--url", "http://127.0.0.1:9"]) == 2
    message = f"the folder {tmp_path}/f holds no pictures (.jpg, .jpeg, .png, .webp)"
    assert capsys.readouterr().err == f"attnvgg: {message}\n"


def test_a_folder_that_cannot_be_read(
    fake_url: str,
    photo_path: Path,
    tmp_path: Path,
    capsys: Output,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    closed, scandir = tmp_path / "closed", os.scandir
    closed.mkdir()

    def guarded(path: str) -> object:
        if path == str(closed):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    assert _cli.main(["predict", str(tmp_path), "--url", fake_url]) == 1
    out, err = capsys.readouterr()
    assert out.startswith(f"{photo_path}: circle")
    assert err == f"attnvgg: {closed} cannot be read: Permission denied\n"
    assert _cli.main(["predict", str(closed), "--url", fake_url]) == 2
    assert capsys.readouterr() == ("", err)


def test_a_file_that_vanishes_after_it_was_listed(
    fake_url: str, photo: bytes, tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        (tmp_path / f"{name}.jpg").write_bytes(photo)
    gather = _cli_files.gather

    def slow(arguments: list[str]) -> _cli_files.Pictures:
        pictures = gather(arguments)
        (tmp_path / "b.jpg").unlink()
        return pictures

    monkeypatch.setattr(_cli_files, "gather", slow)
    assert _cli.main(["predict", str(tmp_path), "--url", fake_url]) == 1
    out, err = capsys.readouterr()
    assert [line.split(":")[0][-5:] for line in out.splitlines()] == ["a.jpg", "c.jpg"]
    assert err == f"attnvgg: '{tmp_path}/b.jpg' cannot be read: No such file or directory\n"


def test_standard_input_that_is_not_there(
    capsys: Output, monkeypatch: pytest.MonkeyPatch, fake_url: str
) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    assert _cli.main(["predict", "-", "--url", fake_url]) == 2
    assert "closed" in capsys.readouterr().err
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"no picture")))
    assert _cli.main(["predict", "-", "--url", fake_url]) == 1
    assert "<stdin>" in capsys.readouterr().err


def plan(out: Path, *given: object) -> list[str]:
    pictures = _cli_files.gather([str(one) for one in given])
    return [os.path.relpath(path, out) for path in _overlay_files.plan(pictures, str(out))]


def test_overlays_have_the_folders_of_their_pictures(tmp_path: Path) -> None:
    folder, out = fill(tmp_path / "f", "a/x.jpg", "b/x.jpg", "b/x.png", "y.jpg"), tmp_path / "out"
    inside = ["a/x", "b/x", "b/x-2", "y"]
    assert plan(out, folder) == [f"{name}.overlay.png" for name in inside]
    assert plan(out, folder) == plan(out, f"{folder}/")
    another = fill(tmp_path / "g" / "f", "x.jpg")
    alone = fill(tmp_path, "x.webp", "z/x.jpg")
    both = plan(out, folder, another, alone / "x.webp", alone / "z" / "x.jpg")
    roots = [f"f/{name}" for name in inside] + ["f-2/x", "x", "x-2"]
    assert both == [f"{name}.overlay.png" for name in roots]


def test_many_of_one_name_are_told_apart_in_a_moment(tmp_path: Path) -> None:
    names = [f"/{number}/x.jpg" for number in range(20_000)] + ["/a/x-7.jpg"]
    targets = plan(tmp_path / "out", *names)
    assert len(set(targets)) == len(names)
    assert targets[-1] == "x-7-2.overlay.png"
    few = plan(tmp_path / "out", "/a/x-2.jpg", "/b/x.jpg", "/c/x.jpg")
    assert few == ["x-2.overlay.png", "x.overlay.png", "x-3.overlay.png"]


def test_a_folder_of_one_picture_still_needs_a_folder(tmp_path: Path) -> None:
    folder = fill(tmp_path / "f", "a/x.jpg")
    assert plan(tmp_path / "out.png", folder) == ["a/x.overlay.png"]
    assert (tmp_path / "out.png").is_dir()
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InvalidArgumentError, match="File exists"):
        plan(tmp_path / "file", folder)


def test_overlays_beside_their_pictures_are_no_pictures_of_the_next_run(
    fake_url: str, photo: bytes, tmp_path: Path, capsys: Output
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.jpg").write_bytes(photo)
    arguments = ["predict", str(tmp_path), "--overlay", str(tmp_path), "--url", fake_url]
    for _ in range(2):
        assert _cli.main(arguments) == 0
        assert len(capsys.readouterr().out.splitlines()) == 1
    files = sorted(path.name for path in tmp_path.rglob("*.*"))
    assert files == ["x.jpg", "x.overlay.png"]


def test_a_picture_named_like_an_overlay_is_not_overwritten(tmp_path: Path) -> None:
    fill(tmp_path, "x.jpg", "x.overlay.png")
    with pytest.raises(InvalidArgumentError, match="would overwrite a picture given"):
        plan(tmp_path, tmp_path / "x.jpg", tmp_path / "x.overlay.png")
