"""Pictures come from folders or from CIFAR-100, and augmentation is a function of its inputs."""

import hashlib
import pickle
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
    with pytest.raises(DataError, match="different classes"):
        data.load(folder, DataConfig())


def test_no_folder_and_no_classes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is no folder"):
        data.load(tmp_path / "none", DataConfig())
    with pytest.raises(DataError, match="holds 0 class folders"):
        data.load(tmp_path, DataConfig())


def test_augmentation_is_a_function_of_seed_epoch_and_picture() -> None:
    split = data.load(SHAPES, DataConfig()).train

    def epoch(seed: int, number: int, size: int) -> dict[int, bytes]:
        order = data.epoch_order(len(split), seed, number)
        pictures = torch.cat([x for x, _ in data.batches(split, size, DataConfig(), seed, number)])
        return {int(i): p.numpy().tobytes() for i, p in zip(order, pictures, strict=False)}

    first = epoch(0, 1, 8)
    assert len(first) == 72
    assert epoch(0, 1, 12) == first
    assert epoch(0, 2, 8) != first
    assert epoch(1, 1, 8) != first


def test_the_order_is_another_in_every_epoch_and_with_every_seed() -> None:
    orders = {tuple(data.epoch_order(50, *each).tolist()) for each in ((0, 1), (0, 2), (1, 1))}
    assert len(orders) == 3
    assert all(sorted(order) == list(range(50)) for order in orders)


def test_every_picture_is_mirrored_in_every_other_epoch() -> None:
    split = data.load(SHAPES, DataConfig()).train
    config = DataConfig(shift=0)
    mirrored = []
    for number in (1, 2, 3):
        order = data.epoch_order(len(split), 0, number)
        pictures = torch.cat([x for x, _ in data.batches(split, 8, config, 0, number)])
        back = pictures[order.argsort()]
        same = (back == split.images).flatten(1).all(1)
        flipped = (back == split.images.flip(2)).flatten(1).all(1)
        assert (same | flipped).all()
        mirrored.append(flipped)
    assert torch.equal(mirrored[0], ~mirrored[1])
    assert torch.equal(mirrored[0], mirrored[2])
    assert 10 < mirrored[0].sum() < 62


def test_a_shift_moves_the_picture_and_reflects_its_border() -> None:
    image = torch.arange(16, dtype=torch.uint8).view(1, 4, 4, 1).expand(1, 4, 4, 3)
    moved = data.augment(image, torch.tensor([False]), torch.tensor([[1, -2]]))
    expected = np.pad(image[0, :, :, 0].numpy(), 2, mode="reflect")[3:7, 0:4]
    assert np.array_equal(moved[0, :, :, 0].numpy(), expected)


def test_cifar100_of_the_published_format_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from attnvgg_training.torchvision_shim import datasets

    root = tmp_path / "cifar-100-python"
    root.mkdir()
    rng = np.random.default_rng(0)
    files = {}
    for name in ("train", "test"):
        pixels = rng.integers(0, 256, (6, 3072), dtype=np.uint8)
        body = pickle.dumps({"data": pixels, "fine_labels": [0, 1, 2, 0, 1, 2]})
        files[name] = (pixels, body)
        (root / name).write_bytes(body)
    (root / "meta").write_bytes(pickle.dumps({"fine_label_names": ["ant", "bee", "cow"]}))
    # torchvision unpickles only files whose md5 it knows: name those of this miniature.
    for name, attribute in (("train", "train_list"), ("test", "test_list")):
        md5 = hashlib.md5(files[name][1]).hexdigest()
        monkeypatch.setattr(datasets.CIFAR100, attribute, [[name, md5]])
    md5 = hashlib.md5((root / "meta").read_bytes()).hexdigest()
    meta = {"filename": "meta", "key": "fine_label_names", "md5": md5}
    monkeypatch.setattr(datasets.CIFAR100, "meta", meta)

    dataset = data.load(tmp_path, DataConfig())
    assert dataset.labels == ("ant", "bee", "cow")
    planes = files["train"][0].reshape(6, 3, 32, 32)
    assert np.array_equal(dataset.train.images.numpy(), planes.transpose(0, 2, 3, 1))
    mean, _ = dataset.statistics()
    assert np.allclose(mean, planes.mean((0, 2, 3)) / 255)

    (root / "train").write_bytes(files["train"][1] + b"x")
    with pytest.raises(DataError, match="not the published data set"):
        data.load(tmp_path, DataConfig())


def test_a_photo_is_decoded_upright(folder: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    target = folder / "train" / "circle" / "00.png"
    pixels = np.asarray(Image.open(target).convert("RGB"))
    Image.fromarray(pixels).save(target, exif=exif)
    dataset = data.load(folder, DataConfig())
    assert np.array_equal(dataset.train.images[0].numpy(), pixels[::-1, ::-1])
