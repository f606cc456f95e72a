"""Every torchvision format that we read a miniature of: pictures meet their labels.

Each class has one colour, so that a picture tells which class it is.
"""

import bz2
import hashlib
import io
import json
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from attnvgg_training import data
from attnvgg_training.config import DataConfig
from attnvgg_training.torchvision_shim import datasets
from tiny_pictures import write

CONFIG = DataConfig(image_size=8)
NAMES = ("ant", "bee", "cow")


def coloured(target: int, number: int = 0, kind: str = "JPEG") -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (8, 8 + number), (80 * target,) * 3).save(stream, kind)
    return stream.getvalue()


def pictures(root: Path, pattern: str, targets: Sequence[int], kind: str = "JPEG") -> Path:
    for number, target in enumerate(targets):
        name = pattern.format(n=number, t=target, label=NAMES[target])
        write(root, {name: coloured(target, number, kind)})
    return root


def lines(root: Path, name: str, pattern: str, targets: Sequence[int]) -> None:
    text = [pattern.format(n=n, t=t, u=t + 1, label=NAMES[t]) for n, t in enumerate(targets)]
    write(root, {name: ("\n".join(text) + "\n").encode()})


def food(root: Path) -> None:
    for split in ("train", "test"):
        pictures(root, f"food-101/images/{{label}}/{split}{{n}}.jpg", (0, 1, 2))
        meta = {label: [f"{label}/{split}{n}"] for n, label in enumerate(NAMES)}
        write(root, {f"food-101/meta/{split}.json": json.dumps(meta).encode()})


def pets(root: Path) -> None:
    for split in ("trainval", "test"):
        pictures(root, f"oxford-iiit-pet/images/{{label}}_{split}{{n}}.jpg", (2, 0, 1))
        table = f"oxford-iiit-pet/annotations/{split}.txt"
        lines(root, table, f"{{label}}_{split}{{n}} {{u}} 1 1", (2, 0, 1))


def signs(root: Path) -> None:
    targets = [n % 3 for n in range(43)]
    for number in range(43):
        name = f"gtsrb/GTSRB/Training/{number:05d}/a.ppm"
        write(root, {name: coloured(targets[number], number, "PPM")})
        name = f"gtsrb/GTSRB/Final_Test/Images/{number}.ppm"
        write(root, {name: coloured(targets[number], number + 50, "PPM")})
    rows = "".join(f"{n}.ppm;{n}\n" for n in range(43))
    write(root, {"gtsrb/GT-final_test.csv": f"Filename;ClassId\n{rows}".encode()})


def textures(root: Path) -> None:
    for split in ("train", "val", "test"):
        pictures(root, f"dtd/dtd/images/{{label}}/{split}{{n}}.jpg", (0, 1, 2))
        lines(root, f"dtd/dtd/labels/{split}1.txt", f"{{label}}/{split}{{n}}.jpg", (0, 1, 2))


def aircraft(root: Path) -> None:
    base = "fgvc-aircraft-2013b/data"
    lines(root, f"{base}/variants.txt", "{label}", (0, 1, 2))
    for split in ("trainval", "test"):
        pictures(root, f"{base}/images/{split}{{n}}.jpg", (1, 2, 0))
        lines(root, f"{base}/images_variant_{split}.txt", f"{split}{{n}} {{label}}", (1, 2, 0))


def countries(root: Path) -> None:
    for split in ("train", "test"):
        pictures(root, f"country211/{split}/{{label}}/{{n}}.jpg", (0, 1, 2))


def sentiment(root: Path) -> None:
    for split in ("train", "test"):
        pictures(root, f"rendered-sst2/{split}/{{t}}.{{label}}/{{n}}.png", (0, 1), "PNG")
        for name, other in (("negative", "0.ant"), ("positive", "1.bee")):
            (root / "rendered-sst2" / split / other).rename(root / "rendered-sst2" / split / name)


def satellites(root: Path) -> None:
    pictures(root, "eurosat/2750/{label}/{n}.jpg", (0, 1, 2) * 3)


def scenes(root: Path) -> None:
    lines(root, "SUN397/ClassName.txt", "/a/{label}", (0, 1, 2))
    pictures(root, "SUN397/a/{label}/sun_{n}.jpg", (0, 1, 2) * 3)


def imagenette(root: Path) -> None:
    for split in ("train", "val"):
        for target, folder in enumerate(("n01440764", "n02102040", "n02979186")):
            name = f"imagenette2/{split}/{folder}/x.JPEG"
            write(root, {name: coloured(target, split == "val")})


def flowers(root: Path) -> None:
    from scipy.io import savemat

    base = root / "flowers-102"
    targets = [n % 102 for n in range(306)]
    for number, target in enumerate(targets, start=1):
        # Targets differ in the remainder of three alone, as their colours do.
        name = f"jpg/image_{number:05d}.jpg"
        write(base, {name: coloured(target % 3, number)})
    savemat(base / "imagelabels.mat", {"labels": np.array(targets) + 1})
    ids = np.arange(1, 307).reshape(3, 102)
    savemat(base / "setid.mat", {"trnid": ids[0], "valid": ids[1], "tstid": ids[2]})


def cars(root: Path) -> None:
    from scipy.io import savemat

    base = root / "stanford_cars"
    (base / "devkit").mkdir(parents=True)
    savemat(base / "devkit" / "cars_meta.mat", {"class_names": np.array(NAMES, dtype=object)})
    tables = {"train": "devkit/cars_train_annos.mat", "test": "cars_test_annos_withlabels.mat"}
    for split, table in tables.items():
        pictures(base, f"cars_{split}/{split}{{n}}.jpg", (2, 0, 1))
        rows = [(f"{split}{n}.jpg", t + 1) for n, t in enumerate((2, 0, 1))]
        kind = [("fname", object), ("class", object)]
        savemat(base / table, {"annotations": np.array(rows, dtype=kind)})


@pytest.mark.parametrize(
    ("name", "make", "train", "test"),
    [
        ("Food101", food, 3, 3),
        ("OxfordIIITPet", pets, 3, 3),
        ("GTSRB", signs, 43, 43),
        ("DTD", textures, 6, 3),
        ("FGVCAircraft", aircraft, 3, 3),
        ("Country211", countries, 3, 3),
        ("RenderedSST2", sentiment, 2, 2),
        ("EuroSAT", satellites, 6, 3),
        ("SUN397", scenes, 6, 3),
        ("Imagenette", imagenette, 3, 3),
        ("Flowers102", flowers, 204, 102),
        ("StanfordCars", cars, 3, 3),
    ],
)
def test_files_are_found_with_their_labels(
    name: str,
    make: Callable[[Path], None],
    train: int,
    test: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if name in ("Flowers102", "StanfordCars"):
        pytest.importorskip("scipy")
    if name == "Flowers102":  # torchvision compares the MD5 of its tables with the published one
        check = "torchvision.datasets.flowers102.check_integrity"
        monkeypatch.setattr(check, lambda path, md5: Path(path).is_file())
    make(tmp_path)
    dataset = data.load(f"torchvision:{name}@{tmp_path}", CONFIG)
    assert (len(dataset.train), len(dataset.test)) == (train, test)
    for split in (dataset.train, dataset.test):
        shades = split.images.float().mean((1, 2, 3)) / 80  # type: ignore[attr-defined]
        assert shades.round().tolist() == (split.targets % 3).tolist()
    titles = {"ant": "bee", "Ant": "Bee", "/a/ant": "/a/bee", "tench": "English springer"}
    titles |= {"00": "01", "negative": "positive", "pink primrose": "hard-leaved pocket orchid"}
    assert titles.get(dataset.labels[0].removeprefix("/a/")) == dataset.labels[1]


def shades(size: int, channels: int) -> NDArray[np.uint8]:
    """[3, channels, size, size], one shade for each of three pictures."""
    levels = np.array([0, 80, 160], dtype=np.uint8).reshape(3, 1, 1, 1)
    return np.broadcast_to(levels, (3, channels, size, size)).copy()


def check_arrays(name: str, root: Path, size: int, targets: list[int]) -> data.Dataset:
    dataset = data.load(f"torchvision:{name}@{root}", DataConfig(image_size=size))
    for split in (dataset.train, dataset.test):
        images = split.images  # type: ignore[attr-defined]
        assert images.shape == (3, size, size, 3)
        assert images[:, 0, 0].tolist() == [[0] * 3, [80] * 3, [160] * 3]
        assert split.targets.tolist() == targets
    return dataset


def test_mnist_is_three_equal_channels(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    raw = tmp_path / "MNIST" / "raw"
    targets = [n % 10 for n in range(10)]
    grey = np.arange(10, dtype=np.uint8).repeat(28 * 28).tobytes()
    for split in ("train", "t10k"):
        header = struct.pack(">iiii", 0x803, 10, 28, 28)
        write(raw, {f"{split}-images-idx3-ubyte": header + grey})
        body = struct.pack(">ii", 0x801, 10) + bytes(targets)
        write(raw, {f"{split}-labels-idx1-ubyte": body})
    dataset = data.load(f"torchvision:mnist@{tmp_path}", DataConfig(image_size=28))
    assert dataset.train.images.shape == (10, 28, 28, 3)  # type: ignore[attr-defined]
    assert dataset.train.images[:, 3, 4, 2].tolist() == targets  # type: ignore[attr-defined]
    assert dataset.labels[7] == "7 - seven"
    assert "10 of 10 test pictures are training pictures too" in caplog.text


def test_svhn_has_digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    savemat = pytest.importorskip("scipy.io").savemat
    planes = np.arange(10, dtype=np.uint8).reshape(10, 1, 1, 1) * np.ones((1, 3, 32, 32), np.uint8)
    known = {}
    for split in ("train", "test"):
        path = tmp_path / f"{split}_32x32.mat"
        digits = np.array([10, *range(1, 10)]).reshape(-1, 1)  # the file calls the digit 0 ten
        savemat(path, {"X": planes.transpose(2, 3, 1, 0), "y": digits})
        known[split] = ["", path.name, hashlib.md5(path.read_bytes()).hexdigest()]
    monkeypatch.setattr(datasets.SVHN, "split_list", known)
    dataset = data.load(f"torchvision:SVHN@{tmp_path}", CONFIG)
    assert dataset.labels == tuple("0123456789")
    assert dataset.train.targets.tolist() == list(range(10))
    assert dataset.train.images[:, 0, 0, 0].tolist() == list(range(10))  # type: ignore[attr-defined]


def test_stl10_is_upright(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planes = shades(96, 3)
    planes[:, :, 5, 0] = 255  # row 5, column 0; the file goes down the columns first
    for split in ("train", "test"):
        body = planes.transpose(0, 1, 3, 2).tobytes()
        write(tmp_path / "stl10_binary", {f"{split}_X.bin": body, f"{split}_y.bin": b"\1\2\3"})
    write(tmp_path / "stl10_binary", {"class_names.txt": b"ant\nbee\ncow\n"})
    monkeypatch.setattr("torchvision.datasets.stl10.STL10._check_integrity", lambda self: True)
    dataset = check_arrays("STL10", tmp_path, 96, [0, 1, 2])
    assert dataset.train.images[:, 5, 0].unique().tolist() == [255]  # type: ignore[attr-defined]
    assert dataset.labels == NAMES


def test_usps_is_read_from_its_text(tmp_path: Path) -> None:
    values = " ".join(f"{i + 1}:{-1 + i / 127.5}" for i in range(256))
    text = "\n".join(f"{digit + 1} {values}" for digit in range(10)) + "\n"
    for name in ("usps.bz2", "usps.t.bz2"):
        write(tmp_path, {name: bz2.compress(text.encode())})
    dataset = data.load(f"torchvision:USPS@{tmp_path}", DataConfig(image_size=16))
    assert dataset.train.targets.tolist() == list(range(10))
    first = dataset.train.images[0, :, :, 0].flatten()  # type: ignore[attr-defined]
    assert np.abs(first.int().numpy() - np.arange(256)).max() <= 1
