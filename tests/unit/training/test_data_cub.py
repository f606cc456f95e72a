"""CUB-200-2011 in its published layout, whole or cut to the birds."""

from pathlib import Path

import numpy as np
import pytest
import torch

from attnvgg_training import data
from attnvgg_training.config import DataConfig
from attnvgg_training.errors import DataError
from tiny_pictures import pixels, png, write

LABELS = ("001.Black_footed_Albatross", "002.Laysan_Albatross")
CONFIG = DataConfig(image_size=8)
# Number, class, whether it trains, box: the numbers are neither sorted nor without gaps.
ROWS = (
    (4, 1, 1, "0.0 0.0 8.0 8.0"),
    (2, 1, 0, "1.5 2.25 3.5 3.5"),
    (7, 2, 1, "8.0 4.0 8.0 8.0"),
    (1, 2, 0, "12.5 11.0 9.0 9.0"),
)


@pytest.fixture
def birds(tmp_path: Path) -> Path:
    tables = {
        "images.txt": [f"{n} {LABELS[c - 1]}/bird_{n}.png" for n, c, _, _ in ROWS],
        "image_class_labels.txt": [f"{n} {c}" for n, c, _, _ in reversed(ROWS)],
        "train_test_split.txt": [f"{n} {t}" for n, _, t, _ in ROWS],
        "bounding_boxes.txt": [f"{n} {box}" for n, _, _, box in ROWS],
        "classes.txt": [f"{i + 1} {label}" for i, label in enumerate(LABELS)],
    }
    files = {name: ("\n".join(rows) + "\n").encode() for name, rows in tables.items()}
    for number, target, _, _ in ROWS:
        files[f"images/{LABELS[target - 1]}/bird_{number}.png"] = png(number, 16, 16)
    return write(tmp_path / "CUB_200_2011", files)


def test_the_published_split_is_read(birds: Path) -> None:
    dataset = data.load(birds, DataConfig(image_size=16))
    assert (dataset.labels, dataset.name) == (LABELS, "cub-200-2011")
    assert dataset.train.targets.tolist() == [0, 1]
    assert dataset.test.targets.tolist() == [0, 1]
    assert np.array_equal(dataset.train.pixels(torch.tensor([1]))[0], pixels(7, 16, 16))
    assert np.array_equal(dataset.test.pixels(torch.tensor([0]))[0], pixels(2, 16, 16))


def test_the_folder_around_it_is_recognised(birds: Path) -> None:
    expected = data.load(birds, CONFIG).fingerprint()
    assert data.load(birds.parent, CONFIG).fingerprint() == expected


@pytest.mark.parametrize("memory", ["device", "workers"])
def test_pictures_are_cut_to_the_box(birds: Path, memory: str) -> None:
    config = DataConfig(image_size=8, crop_to_box=True, memory=memory)  # type: ignore[arg-type]
    train = data.load(birds, config).train.pixels(torch.arange(2))
    assert np.array_equal(train[0], pixels(4, 16, 16)[:8, :8])
    assert np.array_equal(train[1], pixels(7, 16, 16)[4:12, 8:16])


def test_a_box_may_stick_out_and_touch_parts_of_pixels(birds: Path) -> None:
    from PIL import Image

    from attnvgg_bundle.preprocess import fit

    config = DataConfig(image_size=8, crop_to_box=True)
    test = data.load(birds, config).test.pixels(torch.arange(2))
    for row, part in ((0, np.s_[2:6, 1:5]), (1, np.s_[11:16, 12:16])):
        number = (2, 1)[row]
        cut = Image.fromarray(pixels(number, 16, 16)[part])
        assert np.array_equal(test[row], fit(cut, 8, 8, "stretch", "bicubic").pixels)


def test_boxes_are_refused_where_there_are_none(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shapes = Path(__file__).parents[2] / "data" / "shapes"
    config = DataConfig(crop_to_box=True)
    with pytest.raises(DataError, match=r"--crop-to-box is true, but .*shapes has no boxes"):
        data.load(shapes, config)
    data.load(shapes, config, ("circle", "square", "triangle"))  # a checkpoint's configuration
    assert "has no boxes; only CUB-200-2011 has them" in caplog.text


@pytest.mark.parametrize(
    ("table", "text", "message"),
    [
        ("bounding_boxes.txt", "4 1 2 3\n", "bounding_boxes.txt, line 1, cannot be read: '4 1 2 3"),
        ("train_test_split.txt", "4 1\n2 0\n", "has 2 pictures that another table lacks, .* 7"),
        ("image_class_labels.txt", "4 9\n2 1\n7 2\n1 2\n", "class 9 is not in classes.txt"),
        ("train_test_split.txt", "4 0\n2 0\n7 1\n1 0\n", "class '001.Black_footed_Albatross'"),
    ],
)
def test_tables_that_do_not_fit_are_refused(
    birds: Path, table: str, text: str, message: str
) -> None:
    (birds / table).write_text(text)
    with pytest.raises(DataError, match=message):
        data.load(birds, DataConfig(image_size=8, crop_to_box=True))


def test_without_the_table_of_boxes_nothing_can_be_cut(birds: Path) -> None:
    (birds / "bounding_boxes.txt").unlink()
    assert len(data.load(birds, CONFIG).train) == 2
    with pytest.raises(DataError, match=r"bounding_boxes\.txt cannot be read"):
        data.load(birds, DataConfig(image_size=8, crop_to_box=True))


def test_a_picture_of_the_table_that_is_not_there_is_named(birds: Path) -> None:
    (birds / "images" / LABELS[0] / "bird_2.png").unlink()
    with pytest.raises(DataError, match=r"bird_2\.png: No such file"):
        data.load(birds, CONFIG)
