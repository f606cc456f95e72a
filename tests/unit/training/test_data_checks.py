"""What is wrong with a data set is said before the first step."""

from pathlib import Path

import pytest
import torch

from attnvgg_training.config import DataConfig
from attnvgg_training.data import load
from attnvgg_training.data.checks import check_classes
from attnvgg_training.data.part import Part
from attnvgg_training.data.pictures import Arrays
from attnvgg_training.errors import DataError
from tiny_pictures import class_folders, png, write

BOTH = pytest.mark.parametrize("memory", ["device", "workers"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return class_folders(tmp_path / "animals")


def config(memory: str, skip: bool = False) -> DataConfig:
    return DataConfig(image_size=8, memory=memory, skip_unreadable=skip)  # type: ignore[arg-type]


@BOTH
def test_all_unreadable_pictures_of_both_splits_are_named(folder: Path, memory: str) -> None:
    (folder / "train" / "ant" / "1.png").write_bytes(png(1)[:-30])
    (folder / "train" / "cow" / "2.png").write_bytes(b"")
    (folder / "test" / "bee" / "0.png").write_bytes(b"GIF89a")
    with pytest.raises(DataError) as caught:
        load(folder, config(memory))
    message = str(caught.value)
    assert message.startswith("3 pictures cannot be read; mend or remove them, or leave them out")
    assert "--skip-unreadable true" in message
    lines = message.splitlines()[1:]
    assert [line.partition(": ")[0].strip() for line in lines] == [
        str(folder / name) for name in ("train/ant/1.png", "train/cow/2.png", "test/bee/0.png")
    ]
    assert "0 bytes" in lines[1]
    assert "no JPEG, PNG or WebP" in lines[2]


@BOTH
def test_unreadable_pictures_are_skipped_only_if_asked_with_a_count(
    folder: Path, memory: str, caplog: pytest.LogCaptureFixture
) -> None:
    before = load(folder, config(memory))
    (folder / "train" / "bee" / "1.png").write_bytes(b"no picture")
    (folder / "test" / "cow" / "0.png").unlink()
    (folder / "test" / "cow" / "0.png").symlink_to("nowhere")
    after = load(folder, config(memory, skip=True))
    assert after.train.targets.tolist() == [0, 0, 0, 1, 1, 2, 2, 2]
    assert after.test.targets.tolist() == [0, 0, 1, 1, 2]
    kept = torch.tensor([0, 1, 2, 3, 5, 6, 7, 8])
    assert torch.equal(after.train.pixels(torch.arange(8)), before.train.pixels(kept))
    assert "left out " + str(folder / "train/bee/1.png") in caplog.text
    assert "cow/0.png: No such file or directory" in caplog.text
    assert "2 of 15 pictures cannot be read and are left out" in caplog.text
    assert "training pictures too" not in caplog.text


@BOTH
def test_skipping_must_not_empty_a_class(folder: Path, memory: str) -> None:
    for path in (folder / "train" / "bee").iterdir():
        path.write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"class 'bee' is empty: .* has no training picture"):
        load(folder, config(memory, skip=True))


@BOTH
def test_a_picture_in_both_splits_is_warned_of(
    folder: Path, memory: str, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(7):
        write(folder, {f"train/ant/same{number}.png": png(300 + number)})
        write(folder, {f"test/cow/twin{number}.png": png(300 + number)})
    load(folder, config(memory))
    (message,) = [record.message for record in caplog.records]
    assert message.startswith("7 of 13 test pictures are training pictures too")
    first = f"{folder}/test/cow/twin0.png is {folder}/train/ant/same0.png"
    assert first in message
    assert message.endswith(" and 2 more")


@BOTH
def test_nothing_is_said_of_a_data_set_without_fault(
    folder: Path, memory: str, caplog: pytest.LogCaptureFixture
) -> None:
    load(folder, config(memory))
    assert [r.message for r in caplog.records if r.levelname == "WARNING"] == []


def test_a_class_without_test_pictures_is_warned_of(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for path in (folder / "test" / "bee").iterdir():
        path.unlink()
    assert len(load(folder, config("device")).test) == 4
    assert "has no test picture of class 'bee'" in caplog.text


def test_a_class_with_hardly_any_pictures_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = class_folders(tmp_path / "animals", train=20)
    for number in range(3, 20):
        (folder / "train" / "bee" / f"{number}.png").unlink()
    load(folder, config("device"))
    assert "hardly any training pictures of 'bee' (3)" in caplog.text


def part(*targets: int) -> Part:
    return Part.of(Arrays(torch.zeros(len(targets), 8, 8, 3, dtype=torch.uint8), "toy"), targets)


@pytest.mark.parametrize(
    ("labels", "train", "test", "message"),
    [
        (["a"], [0, 0], [0], "toys has 1 class; it must have two or more"),
        (["a", "b", "a"], [0, 1, 2], [0], "toys has several classes called 'a'"),
        (["a", "b"], [0, 1, 2, 3], [0], "training split of toys has 2 labels that are none of"),
        (["a", "b"], [0, 1], [0, 1, -1], "test split of toys has 1 .* toy picture 2 has -1"),
        (["a", "b", "c"], [1, 1], [0], "2 classes are empty: toys .* of 'a', 'c'"),
        (["a", "b"], [0, 1], [], "the test split of toys is empty"),
    ],
)
def test_labels_that_do_not_fit_are_refused(
    labels: list[str], train: list[int], test: list[int], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        check_classes(labels, part(*train), part(*test), "toys")


def test_many_names_are_cut_short() -> None:
    labels = [f"c{i}" for i in range(20)]
    with pytest.raises(DataError, match=r"18 classes .*'c2', 'c3', 'c4', 'c5', 'c6' and 13 more"):
        check_classes(labels, part(0, 1), None, "toys")
