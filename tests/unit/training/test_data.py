"""Class folders become pictures and targets, as the gateway would read them."""

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from attnvgg_bundle.preprocess import decode, fit
from attnvgg_training import data
from attnvgg_training.config import DataConfig
from attnvgg_training.errors import DataError
from tiny_pictures import png, write

SHAPES = Path(__file__).parents[2] / "data" / "shapes"


def test_class_folders_are_read_in_order_and_as_the_gateway_reads_pictures() -> None:
    dataset = data.load(SHAPES, DataConfig())
    assert dataset.labels == ("circle", "square", "triangle")
    assert dataset.train.images.shape == (72, 32, 32, 3)
    assert dataset.train.targets.bincount().tolist() == [24, 24, 24]
    assert len(dataset.test) == 24
    path = SHAPES / "train" / "square" / "00.png"
    expected = fit(decode(path.read_bytes()), 32, 32, "stretch", "bicubic").pixels
    assert np.array_equal(dataset.train.images[24].numpy(), expected)


def test_other_sizes_go_through_the_one_resize() -> None:
    dataset = data.load(SHAPES, DataConfig(image_size=16, geometry="center-crop"))
    path = SHAPES / "train" / "circle" / "00.png"
    expected = fit(decode(path.read_bytes()), 16, 16, "center-crop", "bicubic").pixels
    assert np.array_equal(dataset.train.images[0].numpy(), expected)


def test_without_a_test_split_a_part_of_every_class_is_held_out() -> None:
    dataset = data.load(SHAPES / "train", DataConfig(holdout=0.25))
    assert dataset.train.targets.bincount().tolist() == [18, 18, 18]
    assert dataset.test.targets.bincount().tolist() == [6, 6, 6]
    assert data.load(SHAPES / "train", DataConfig(holdout=0.25)).fingerprint() == (
        dataset.fingerprint()
    )


def test_a_subset_has_of_each_class_its_share_and_is_among_larger_ones() -> None:
    def pictures(count: int) -> dict[bytes, int]:
        train = data.load(SHAPES, DataConfig(subset=count)).train
        assert len(train) == min(count, 72)
        return {
            x.numpy().tobytes(): int(y) for x, y in zip(train.images, train.targets, strict=True)
        }

    whole, some, few = pictures(500), pictures(30), pictures(7)
    assert few.items() <= some.items() <= whole.items()
    assert np.bincount(list(some.values())).tolist() == [10, 10, 10]
    assert sorted(np.bincount(list(few.values())).tolist()) == [2, 2, 3]
    assert len(data.load(SHAPES, DataConfig(subset=7)).test) == 24


def test_even_a_small_class_is_in_a_subset(tmp_path: Path) -> None:
    files = {f"train/many/{number}.png": png(number) for number in range(20)}
    write(tmp_path, files | {f"{place}.png": png(100) for place in ("train/one/0", "test/one/0")})
    write(tmp_path, {"test/many/0.png": png(101)})
    found = data.load(tmp_path, DataConfig(subset=3)).train
    assert found.targets.bincount().tolist() == [2, 1]
    with pytest.raises(DataError, match="--subset is 1; 2 classes need 2 or more"):
        data.load(tmp_path, DataConfig(subset=1))


def test_permuted_labels_are_the_same_labels_of_other_pictures() -> None:
    right = data.load(SHAPES, DataConfig())
    wrong = data.load(SHAPES, DataConfig(permute_labels=True))
    assert torch.equal(right.train.images, wrong.train.images)
    assert wrong.train.targets.bincount().tolist() == [24, 24, 24]
    kept = (right.train.targets == wrong.train.targets).float().mean()
    assert kept < 0.6, "chance is a third"
    assert torch.equal(right.test.targets, wrong.test.targets)
    again = data.load(SHAPES, DataConfig(permute_labels=True))
    assert again.fingerprint() == wrong.fingerprint() != right.fingerprint()


def test_statistics_are_those_of_numpy() -> None:
    dataset = data.load(SHAPES, DataConfig())
    mean, std = dataset.statistics()
    pixels = dataset.train.images.numpy().reshape(-1, 3) / 255
    assert np.allclose(mean, pixels.mean(0))
    assert np.allclose(std, pixels.std(0))


def test_normalised_pictures_have_mean_zero_and_deviation_one() -> None:
    dataset = data.load(SHAPES, DataConfig())
    normal = data.normalise(dataset.train.images, *dataset.statistics())
    assert normal.shape == (72, 3, 32, 32)
    assert torch.allclose(normal.mean((0, 2, 3)), torch.zeros(3), atol=1e-4)
    assert torch.allclose(normal.std((0, 2, 3)), torch.ones(3), atol=1e-3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SHAPES, tmp_path / "shapes"))


def test_a_damaged_picture_is_named(folder: Path) -> None:
    (folder / "train" / "circle" / "03.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(DataError, match=r"circle.03\.png: "):
        data.load(folder, DataConfig())


def test_an_empty_class_is_named(folder: Path) -> None:
    (folder / "train" / "zebra").mkdir()
    (folder / "test" / "zebra").mkdir()
    with pytest.raises(DataError, match="class 'zebra' is empty"):
        data.load(folder, DataConfig())


def test_splits_with_other_classes_are_refused(folder: Path) -> None:
    shutil.rmtree(folder / "test" / "circle")
    with pytest.raises(DataError, match=r"different classes.*: only .*train has circle"):
        data.load(folder, DataConfig())


def test_no_folder_and_no_classes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is no folder"):
        data.load(tmp_path / "none", DataConfig())
    with pytest.raises(DataError, match="holds 0 class folders"):
        data.load(tmp_path, DataConfig())


def test_a_photo_is_decoded_upright(folder: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    target = folder / "train" / "circle" / "00.png"
    pixels = np.asarray(Image.open(target).convert("RGB"))
    Image.fromarray(pixels).save(target, exif=exif)
    dataset = data.load(folder, DataConfig())
    assert np.array_equal(dataset.train.images[0].numpy(), pixels[::-1, ::-1])


def test_fingerprints_are_those_of_earlier_versions() -> None:
    """A resumed run compares its own with one that an older version wrote."""
    digest = hashlib.sha256(b"circle\nsquare\ntriangle")
    dataset = data.load(SHAPES, DataConfig())
    for split in (dataset.train, dataset.test):
        digest.update(split.images.numpy().tobytes() + split.targets.numpy().tobytes())
    assert dataset.fingerprint() == digest.hexdigest()


def test_pictures_count_at_any_depth_below_their_class(folder: Path) -> None:
    nested = folder / "train" / "circle" / "camera" / "one"
    nested.mkdir(parents=True)
    shutil.move(folder / "train" / "circle" / "05.png", nested / "00.PNG")
    dataset = data.load(folder, DataConfig())
    assert dataset.train.targets.bincount().tolist() == [24, 24, 24]
    order = dataset.train.images[[5, 22, 23]]
    whole = data.load(SHAPES, DataConfig()).train.images
    assert torch.equal(order, whole[[6, 23, 5]])  # in the order of their paths


def test_hidden_files_and_folders_are_nobodys_pictures(folder: Path) -> None:
    (folder / "train" / ".ipynb_checkpoints").mkdir()
    (folder / "train" / "__MACOSX").mkdir()
    (folder / "train" / "circle" / "._00.png").write_bytes(b"macOS")
    (folder / "train" / "circle" / ".cache").mkdir()
    shutil.copy(folder / "train/circle/00.png", folder / "train/circle/.cache/00.png")
    before = data.load(SHAPES, DataConfig()).fingerprint()
    assert data.load(folder, DataConfig()).fingerprint() == before


def test_files_of_other_kinds_are_counted_in_a_warning(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a.bmp", "b.BMP", "notes.txt"):
        (folder / "train" / "square" / name).write_bytes(b"x")
    data.load(folder, DataConfig())
    assert "left out files that are not .jpeg, .jpg, .png, .webp: 2 .bmp, 1 .txt" in caplog.text


@pytest.mark.parametrize("name", ["val", "valid", "validation"])
def test_the_test_split_has_other_names_too(folder: Path, name: str) -> None:
    (folder / "test").rename(folder / name)
    assert len(data.load(folder, DataConfig()).test) == 24


def test_train_alone_is_held_out_from(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    shutil.rmtree(folder / "test")
    dataset = data.load(folder, DataConfig(holdout=0.25))
    assert (len(dataset.train), len(dataset.test)) == (54, 18)
    assert "has no test split: 0.25 of each class is held out" in caplog.text


def test_a_class_of_one_picture_cannot_be_held_out_from(tmp_path: Path) -> None:
    write(tmp_path, {"ant/0.png": png(0), "ant/1.png": png(1), "bee/0.png": png(2)})
    with pytest.raises(DataError, match=r"class 'bee' has only .*0\.png; without a test split"):
        data.load(tmp_path, DataConfig())


def test_labels_are_those_of_the_checkpoint_or_refused() -> None:
    assert len(data.load(SHAPES, DataConfig(), ("circle", "square", "triangle")).train) == 72
    with pytest.raises(DataError, match="circle, square, triangle; the checkpoint knows cat, dog"):
        data.load(SHAPES, DataConfig(), ("cat", "dog"))


def test_the_order_of_the_classes_is_the_checkpoints(folder: Path) -> None:
    before = data.load(folder, DataConfig())
    labels = ("triangle", "circle", "square")
    after = data.load(folder, DataConfig(), labels)
    assert after.labels == labels
    for one, other in ((before.train, after.train), (before.test, after.test)):
        names = [before.labels[target] for target in one.targets]
        assert [labels[target] for target in other.targets] == names
    assert torch.equal(before.train.images, after.train.images)
    shutil.rmtree(folder / "test")
    held = data.load(folder, DataConfig()).test
    assert torch.equal(data.load(folder, DataConfig(), labels).test.images, held.images)
