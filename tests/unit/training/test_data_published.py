"""torchvision's data sets by name, from miniatures in the formats they are published in.

torchvision opens some files only if their MD5 is the published one: those tests name the MD5 of
the miniature in its place, and one test shows that a changed file is refused.
"""

import hashlib
import http.server
import pickle
import tarfile
import threading
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from attnvgg_training import data
from attnvgg_training.config import DataConfig
from attnvgg_training.data import published
from attnvgg_training.errors import DataError
from attnvgg_training.torchvision_shim import datasets

CONFIG = DataConfig(image_size=32)
PLANES = np.random.default_rng(0).integers(0, 256, (12, 3, 32, 32), dtype=np.uint8)
ROWS = PLANES.transpose(0, 2, 3, 1)


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


@pytest.fixture
def cifar10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Five training batches of two pictures, and a test batch of two."""
    folder = tmp_path / "published" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    names = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
    for place, name in enumerate(names):
        rows = PLANES[2 * place : 2 * place + 2].reshape(2, 3072)
        (folder / name).write_bytes(pickle.dumps({"data": rows, "labels": [0, 1]}))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": ["plane", "car"]}))
    kind = datasets.CIFAR10
    known = [[name, md5(folder / name)] for name in names]
    monkeypatch.setattr(kind, "train_list", known[:5])
    monkeypatch.setattr(kind, "test_list", known[5:])
    monkeypatch.setitem(kind.meta, "md5", md5(folder / "batches.meta"))
    return folder.parent


def test_the_root_of_cifar10_is_recognised(cifar10: Path) -> None:
    dataset = data.load(cifar10, CONFIG)
    assert (dataset.labels, dataset.name) == (("plane", "car"), "cifar10")
    assert np.array_equal(dataset.train.images.numpy(), ROWS[:10])
    assert np.array_equal(dataset.test.images.numpy(), ROWS[10:])
    assert dataset.train.targets.tolist() == [0, 1] * 5


def test_names_are_in_any_case_and_give_what_the_root_gives(cifar10: Path) -> None:
    expected = data.load(cifar10, CONFIG).fingerprint()
    assert data.load(f"torchvision:cifar10@{cifar10}", CONFIG).fingerprint() == expected
    assert data.load(Path(f"TorchVision:CIFAR10@{cifar10}"), CONFIG).fingerprint() == expected


def test_arrays_are_resized_as_files_are(cifar10: Path) -> None:
    from PIL import Image

    from attnvgg_bundle.preprocess import fit

    for memory in ("device", "workers"):
        config = DataConfig(image_size=16, memory=memory)  # type: ignore[arg-type]
        image = data.load(cifar10, config).train.pixels(torch.tensor([3]))[0]
        expected = fit(Image.fromarray(ROWS[3]), 16, 16, "stretch", "bicubic").pixels
        assert np.array_equal(image.numpy(), expected)


def test_changed_files_are_not_the_published_ones(cifar10: Path) -> None:
    with (cifar10 / "cifar-10-batches-py" / "data_batch_3").open("ab") as stream:
        stream.write(b"x")
    with pytest.raises(DataError, match="cifar-10-batches-py is not the published data set"):
        data.load(cifar10, CONFIG)


def test_cifar100_of_the_published_format_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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


def test_two_data_sets_in_one_root_are_told_apart_by_name(cifar10: Path) -> None:
    (cifar10 / "cifar-100-python").mkdir()
    with pytest.raises(DataError, match="holds CIFAR10 and CIFAR100; say torchvision:CIFAR10@"):
        data.load(cifar10, CONFIG)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """Serves tmp_path/web."""
    web = tmp_path / "web"
    web.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(web))

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def test_what_is_missing_is_downloaded_once(
    cifar10: Path, server: str, data_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = cifar10.parent / "web" / "cifar.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(cifar10 / "cifar-10-batches-py", "cifar-10-batches-py")
    monkeypatch.setattr(datasets.CIFAR10, "url", f"{server}/cifar.tar.gz")
    monkeypatch.setattr(datasets.CIFAR10, "tgz_md5", md5(archive))
    expected = data.load(cifar10, CONFIG).fingerprint()
    assert data.load("torchvision:CIFAR10", CONFIG).fingerprint() == expected
    assert (data_cache / "torchvision" / "cifar-10-batches-py").is_dir()
    archive.unlink()
    assert data.load("torchvision:CIFAR10", CONFIG).fingerprint() == expected


@pytest.mark.parametrize("name", ["CIFAR10", "MNIST", "Food101"])
def test_without_a_network_one_line_says_what_to_do(
    name: str, monkeypatch: pytest.MonkeyPatch, data_cache: Path
) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise urllib.error.URLError("Network is unreachable")

    monkeypatch.setattr("urllib.request.urlopen", unreachable)
    with pytest.raises(DataError) as caught:
        data.load(f"torchvision:{name}", CONFIG)
    message = str(caught.value)
    assert f"{name} is not in {data_cache}/torchvision, and downloading it failed" in message
    assert "Network is unreachable" in message
    assert f"torchvision:{name}@ROOT" in message
    assert "\n" not in message


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(DataError, match=r"torchvision:cifar is unknown; there are CIFAR10, .*SVHN"):
        data.load("torchvision:cifar", CONFIG)


@pytest.mark.parametrize("name", published.TABLE)
def test_every_entry_is_a_call_that_torchvision_knows(name: str, tmp_path: Path) -> None:
    """It raises TypeError and ValueError for arguments and splits that it does not have."""
    if published.TABLE[name].scipy:
        pytest.importorskip("scipy")
    entry = published.TABLE[name]
    for arguments in (*entry.train, *entry.test):
        with pytest.raises((RuntimeError, OSError)):
            getattr(datasets, name)(str(tmp_path), download=False, **arguments)


def test_what_scipy_would_read_says_so_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DataError, match="torchvision reads SVHN with scipy, which is missing"):
        data.load("torchvision:SVHN", CONFIG)
