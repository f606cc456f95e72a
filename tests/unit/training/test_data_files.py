"""Pictures that stay in their files: surveyed once, read when asked, in any process."""

import multiprocessing
import os
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from attnvgg_training import data
from attnvgg_training.config import DataConfig
from attnvgg_training.data import FileSplit, MemorySplit, load, split, survey
from attnvgg_training.errors import DataError
from tiny_pictures import class_folders, png, put_sum

WORKERS = DataConfig(image_size=8, memory="workers")
MEMORY = DataConfig(image_size=8, memory="device")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return class_folders(tmp_path / "animals", train=4)


def test_files_give_the_pictures_that_memory_gives(folder: Path) -> None:
    one, other = load(folder, WORKERS).train, load(folder, MEMORY).train
    assert isinstance(one, FileSplit)
    assert isinstance(other, MemorySplit)
    chosen = torch.tensor([11, 0, 5, 5])
    assert torch.equal(one.pixels(chosen), other.pixels(chosen))
    assert one.pixels(chosen).dtype == torch.uint8
    assert torch.equal(one.targets, other.targets)
    assert len(one) == 12


@pytest.mark.parametrize(("room", "kind"), [(18 * 8 * 8 * 3, MemorySplit), (3455, FileSplit)])
def test_auto_keeps_in_memory_what_fits(
    folder: Path, monkeypatch: pytest.MonkeyPatch, room: int, kind: type
) -> None:
    monkeypatch.setattr("attnvgg_training.data.sources.IN_MEMORY", room)
    dataset = load(folder, DataConfig(image_size=8))
    assert isinstance(dataset.train, kind)
    assert isinstance(dataset.test, kind)


def test_a_held_out_part_of_files_is_the_one_of_memory(folder: Path) -> None:
    one, other = (load(folder / "train", config) for config in (WORKERS, MEMORY))
    whole = load(folder, MEMORY).train
    known = {p.numpy().tobytes(): int(t) for p, t in zip(whole.images, whole.targets, strict=True)}  # type: ignore[attr-defined]
    found = []
    for mine, its in ((one.train, other.train), (one.test, other.test)):
        pictures = mine.pixels(torch.arange(len(mine)))
        assert torch.equal(pictures, its.images)  # type: ignore[attr-defined]
        found += [picture.numpy().tobytes() for picture in pictures]
        assert mine.targets.tolist() == [known[each] for each in found[-len(mine) :]]
    assert sorted(found) == sorted(known)


def test_a_spawned_process_reads_the_same(folder: Path) -> None:
    train = load(folder, WORKERS).train
    context = multiprocessing.get_context("spawn")
    queue: multiprocessing.Queue[int] = context.Queue()
    process = context.Process(target=put_sum, args=(train, queue))
    process.start()
    try:
        assert queue.get(timeout=120) == int(train.pixels(torch.arange(12)).sum())
    finally:
        process.join(60)


def test_a_workers_copy_is_small(tmp_path: Path) -> None:
    names = [f"train/class-{i % 10}/{i:08d}.png" for i in range(20_000)]
    found = data.folders.Files(str(tmp_path), data.folders.Names(names))
    part = data.part.Part.of(found, torch.zeros(20_000))
    whole = FileSplit(part, WORKERS, np.zeros((20_000, 16), dtype=np.uint8))
    assert len(pickle.dumps(whole)) < 80 * 20_000
    assert [found.names[i] for i in (0, 1, 19_999)] == [names[0], names[1], names[-1]]


def test_names_that_are_no_utf8_are_read(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "animals")
    name = os.fsdecode(b"caf\xe9.png")
    (folder / "train" / "ant" / name).write_bytes(png(77))
    assert len(load(folder, WORKERS).train) == 10


def test_statistics_of_files_are_those_of_a_fixed_sample(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load(folder, WORKERS).statistics() == load(folder, MEMORY).statistics()
    monkeypatch.setattr(split, "SAMPLE", 4)
    images = load(folder, MEMORY).train.images[[0, 3, 6, 9]] / 255  # type: ignore[attr-defined]
    mean, std = load(folder, WORKERS).statistics()
    assert np.allclose(mean, images.mean((0, 1, 2)))
    assert np.allclose(std, images.double().std((0, 1, 2), correction=0))


def test_the_fingerprint_is_of_contents_and_labels(folder: Path, tmp_path: Path) -> None:
    before = load(folder, WORKERS).fingerprint()
    twin = class_folders(tmp_path / "elsewhere", train=4)
    assert load(twin, WORKERS).fingerprint() == before
    (twin / "train" / "ant" / "0.png").write_bytes(png(99))
    assert load(twin, WORKERS).fingerprint() != before


def spy(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many pictures each survey opened, as far as it opened any."""
    opened: list[int] = []
    real = survey._each

    def each(act: Callable[[int], None], numbers: Sequence[int], title: str) -> dict[int, str]:
        opened.extend([len(numbers)] if len(numbers) else [])
        return real(act, numbers, title)

    monkeypatch.setattr(survey, "_each", each)
    return opened


def test_a_survey_is_remembered_until_a_file_changes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = spy(monkeypatch)
    before = load(folder, WORKERS).fingerprint()
    assert opened == [12, 6]
    assert load(folder, WORKERS).fingerprint() == before
    assert opened == [12, 6]
    path = folder / "test" / "bee" / "1.png"
    os.utime(path, ns=(1, 1))
    assert load(folder, WORKERS).fingerprint() == before
    assert opened == [12, 6, 6]


def test_parts_of_one_folder_are_surveyed_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch, data_cache: Path
) -> None:
    data_cache.write_text("in the way, so that nothing is remembered")
    opened = spy(monkeypatch)
    load(folder / "train", WORKERS)
    assert opened == [12]


def test_a_cache_that_cannot_be_used_is_done_without(
    folder: Path, data_cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = load(folder, WORKERS).fingerprint()
    for path in (data_cache / "surveys").iterdir():
        path.write_bytes(b"damaged")
    assert load(folder, WORKERS).fingerprint() == before
    assert "cannot be used" in caplog.text


def test_a_picture_that_goes_away_later_is_named(folder: Path) -> None:
    train = load(folder, WORKERS).train
    (folder / "train" / "bee" / "2.png").unlink()
    with pytest.raises(DataError, match=r"bee.2\.png: .*No such file"):
        train.pixels(torch.tensor([6]))


def test_what_could_not_be_read_is_tried_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Permission may be given, and a network drive come back, without a change of the file."""
    expected = load(folder, MEMORY).train.targets.tolist()
    real = data.pictures.Files.content

    def denied(self: data.pictures.Files, index: int) -> bytes:
        if self.name(index).endswith("cow/2.png"):
            raise PermissionError(13, "Permission denied", self.name(index))
        return real(self, index)

    with monkeypatch.context() as patch:
        patch.setattr(data.pictures.Files, "content", denied)
        with pytest.raises(DataError, match=r"cow.2\.png: Permission denied \(--skip-unreadable"):
            load(folder, WORKERS)
    train = load(folder, WORKERS).train
    assert train.targets.tolist() == expected
    assert isinstance(train, FileSplit)
    assert train.digests.any(axis=1).all()
