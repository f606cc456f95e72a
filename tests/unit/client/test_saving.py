"""Files: what is in them, and that nothing is lost on the way."""

import errno
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest
from PIL import Image

from attnvgg_client import InvalidArgumentError, Prediction
from attnvgg_client._saving import write_beside, write_picture

Predicted = Callable[..., Prediction]
IMAGE = np.random.default_rng(1).integers(0, 256, (30, 40, 3), dtype=np.uint8)
MAPS = {"conv10": np.full((8, 8), 1 / 64), "odd/../\x00name": np.full((4, 4), 1 / 16)}


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.JPEG", "a.webp"])
def test_a_picture_is_the_overlay(predicted: Predicted, tmp_path: Path, name: str) -> None:
    prediction = predicted(IMAGE, maps=MAPS)
    prediction.save(tmp_path / name, "conv10", alpha=1.0, colormap="tide")
    expected = np.asarray(prediction.overlay("conv10", alpha=1.0, colormap="tide"))
    with Image.open(tmp_path / name) as found:
        assert found.format == {"a.png": "PNG", "a.webp": "WEBP"}.get(name, "JPEG")
        assert np.abs(np.asarray(found).astype(int) - expected).max() <= (0 if "png" in name else 6)
    assert os.listdir(tmp_path) == [name]


def test_json_is_what_to_dict_gives(predicted: Predicted, tmp_path: Path) -> None:
    prediction = predicted(IMAGE, maps=MAPS, label="\u8239 \ud800", probability=float("nan"))
    prediction.save(str(tmp_path / "a.json"))
    assert json.loads((tmp_path / "a.json").read_text("utf-8")) == prediction.to_dict()


def test_npz_holds_the_maps_and_what_belongs_to_them(predicted: Predicted, tmp_path: Path) -> None:
    prediction = predicted(IMAGE, (5, 0, 35, 30), maps=MAPS)
    prediction.save(tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz", allow_pickle=False) as found:
        np.testing.assert_array_equal(found["attention_conv10"], MAPS["conv10"].astype("f4"))
        assert found["attention_conv10"].dtype == np.float32
        assert found["levels"].tolist() == list(MAPS)
        assert "attention_odd%2F..%2F%00name" in found.files
        assert (found["label"], found["index"], found["probability"]) == ("circle", 0, 0.75)
        assert found["top_k_label"].tolist() == ["circle", "square"]
        assert found["top_k_probability"].tolist() == [0.75, 0.25]
        assert found["size"].tolist() == [40, 30]
        assert found["box"].tolist() == [5, 0, 35, 30]
        assert found["model"].tolist() == ["tiny", "1", "ab" * 32, "cpu"]
        assert found["request_id"] == "r-1"


@pytest.mark.parametrize(
    ("name", "level", "message"),
    [
        ("a.gif", None, r"must end in one of \.png, \.jpg, \.jpeg, \.webp, \.json, \.npz"),
        ("a", None, "must end in one of"),
        ("no/a.png", None, "there is no folder .*no"),
        ("folder.npz", None, "is a folder"),
        ("a.npz", "conv10", r"level is 'conv10'; a \.npz file holds every level"),
        ("a.png", "conv9", "level is 'conv9'"),
    ],
)
def test_what_cannot_be_written_is_said(
    predicted: Predicted, tmp_path: Path, name: str, level: str | None, message: str
) -> None:
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(InvalidArgumentError, match=message):
        predicted(IMAGE, maps=MAPS).save(tmp_path / name, level)
    assert os.listdir(tmp_path) == ["folder.npz"]


def test_other_bad_paths_and_no_maps(predicted: Predicted, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match=r"path is <_io\.BytesIO .* the name of a file"):
        predicted(IMAGE, maps=MAPS).save(io.BytesIO())  # type: ignore[arg-type]
    for suffix in ("npz", "png"):
        with pytest.raises(InvalidArgumentError, match="ask with return_attention=True"):
            predicted(IMAGE).save(tmp_path / f"a.{suffix}")
    predicted(IMAGE).save(tmp_path / "a.json")
    os.mkfifo(tmp_path / "pipe.json")  # as /dev/null, which a test that fails would replace
    with pytest.raises(InvalidArgumentError, match="no ordinary file"):
        predicted(IMAGE).save(tmp_path / "pipe.json")


def test_the_picture_itself_is_never_overwritten(
    predicted: Predicted, photo_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = photo_path.read_bytes()
    (tmp_path / "soft.jpg").symlink_to(photo_path)
    os.link(photo_path, tmp_path / "hard.jpg")
    monkeypatch.chdir(tmp_path)
    by_path = predicted(photo_path, maps=MAPS)
    with photo_path.open("rb") as file:
        by_file = predicted(file, maps=MAPS)
    for prediction in (by_path, by_file):
        for name in (photo_path, "photo.jpg", "soft.jpg", "hard.jpg"):
            with pytest.raises(InvalidArgumentError, match="is the picture itself"):
                prediction.save(name)
    with pytest.raises(InvalidArgumentError, match="is the picture itself"):
        by_path.without_picture().save(photo_path, image=str(photo_path))
    assert photo_path.read_bytes() == before
    by_path.save("other.jpg")
    by_path.save("other.jpg", alpha=0.1)  # an older overlay may be replaced


def full(stream: IO[bytes]) -> None:
    stream.write(b"half")
    raise OSError(errno.ENOSPC, "No space left on device")


def unencodable(stream: IO[bytes]) -> None:
    raise OSError("No space left on device, says Pillow")


def interrupted(stream: IO[bytes]) -> None:
    stream.write(b"half")
    raise KeyboardInterrupt


@pytest.mark.parametrize("writer", [full, unencodable, interrupted])
def test_a_failed_write_leaves_what_was_there(tmp_path: Path, writer: Callable[..., Any]) -> None:
    path = tmp_path / ("n" * 250 + ".png")
    path.write_bytes(b"older")
    with pytest.raises((OSError, KeyboardInterrupt)) as caught:
        write_beside(path, writer)
    if isinstance(caught.value, OSError):
        assert caught.value.filename == str(path)
        assert "No space left on device" in str(caught.value)
    assert os.listdir(tmp_path) == [path.name]
    assert path.read_bytes() == b"older"


def test_a_folder_that_cannot_be_written_to_is_said_of_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(path: Path, *_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", denied)  # the mode of a folder does not stop root
    with pytest.raises(PermissionError, match=r"Permission denied: .*/a\.png'"):
        write_beside(tmp_path / "a.png", lambda stream: stream.write(b""))


def test_a_link_stays_a_link_and_modes_follow_the_umask(tmp_path: Path) -> None:
    (tmp_path / "real.json").write_bytes(b"older")
    (tmp_path / "link.json").symlink_to("real.json")
    write_beside(tmp_path / "link.json", lambda stream: stream.write(b"newer"))
    assert (tmp_path / "link.json").is_symlink()
    assert (tmp_path / "real.json").read_bytes() == b"newer"
    (tmp_path / "plain").write_bytes(b"")
    assert (tmp_path / "real.json").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_picture_too_long_for_its_format_is_said(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match=r"WEBP holds 16383 pixels a side, .* 16384 x"):
        write_picture(tmp_path / "a.webp", Image.new("RGB", (16384, 1)))
    write_picture(tmp_path / "a.png", Image.new("RGB", (16384, 1)))
