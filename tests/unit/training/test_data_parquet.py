"""Parquet files: which columns, which split, and the pictures in their rows."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from attnvgg_training import data
from attnvgg_training.config import DataConfig
from attnvgg_training.data import unpack
from attnvgg_training.errors import DataError
from tiny_pictures import pixels, png

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

CONFIG = DataConfig(image_size=8)
CLASSES = {"label": {"names": ["ant", "bee"], "_type": "ClassLabel"}, "image": {"_type": "Image"}}


def save(path: Path, columns: dict[str, Any], features: dict[str, Any] | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table(columns)
    if features is not None:
        metadata = {"huggingface": json.dumps({"info": {"features": features}})}
        table = table.replace_schema_metadata(metadata)
    pq.write_table(table, path, row_group_size=3)
    return path


def images(seeds: Sequence[int]) -> Any:
    """A column as the hub has it: struct{bytes, path}."""
    return pa.array([{"bytes": png(seed), "path": f"{seed}.png"} for seed in seeds])


def pair(root: Path, prefix: str = "") -> Path:
    """train (two files) and test, as the hub keeps a small data set."""
    seeds, labels = list(range(8)), pa.array([0, 1] * 4, pa.int64())
    for number, rows in enumerate((slice(0, 5), slice(5, 8))):
        name = f"{prefix}train-0000{number}-of-00002.parquet"
        columns = {"image": images(seeds[rows]), "label": labels[rows]}
        save(root / name, columns, CLASSES)
    columns = {"image": images([20, 21]), "label": pa.array([1, 0], pa.int64())}
    save(root / f"{prefix}test-00000-of-00001.parquet", columns, CLASSES)
    return root


@pytest.mark.parametrize("prefix", ["", "data/"])
@pytest.mark.parametrize("memory", ["device", "workers"])
def test_the_hubs_layout_is_read(tmp_path: Path, prefix: str, memory: str) -> None:
    root = pair(tmp_path / "insects", prefix)
    config = DataConfig(image_size=8, memory=memory)  # type: ignore[arg-type]
    dataset = data.load(root, config)
    assert (dataset.labels, dataset.name) == (("ant", "bee"), "insects")
    assert dataset.train.targets.tolist() == [0, 1] * 4
    assert dataset.test.targets.tolist() == [1, 0]
    expected = np.stack([pixels(seed) for seed in (7, 0, 5)])
    assert np.array_equal(dataset.train.pixels(torch.tensor([7, 0, 5])), expected)


def test_folders_may_name_the_splits(tmp_path: Path) -> None:
    both = {"image": images([1, 2]), "label": pa.array([0, 1])}
    save(tmp_path / "train" / "0000.parquet", both, CLASSES)
    save(tmp_path / "validation" / "0000.parquet", both, CLASSES)
    assert len(data.load(tmp_path, CONFIG).test) == 2


def test_a_lone_file_is_held_out_from(tmp_path: Path) -> None:
    columns = {"image": images(range(10)), "label": pa.array([0, 1] * 5)}
    path = save(tmp_path / "everything.parquet", columns, CLASSES)
    dataset = data.load(path, DataConfig(image_size=8, holdout=0.2))
    assert (len(dataset.train), len(dataset.test)) == (8, 2)


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array(["cow", "ant", "cow", "ant"]), ("ant", "cow")),
        (pa.array(["cow", "ant", "cow", "ant"]).dictionary_encode(), ("ant", "cow")),
        (pa.array([10, 9, 10, 9], pa.int16()), ("9", "10")),
    ],
)
def test_classes_without_names_are_their_values(
    tmp_path: Path, column: Any, expected: tuple[str, ...]
) -> None:
    binary = pa.array([png(seed) for seed in range(4)], pa.binary())
    path = save(tmp_path / "a.parquet", {"picture": binary, "kind": column})
    dataset = data.load(path, CONFIG)
    assert dataset.labels == expected
    assert sorted([*dataset.train.targets.tolist(), *dataset.test.targets.tolist()]) == [0, 0, 1, 1]


def test_columns_that_could_both_be_meant_are_named(tmp_path: Path) -> None:
    fine, coarse = pa.array([0, 1, 2, 0, 1, 2]), pa.array([0, 0, 1, 0, 0, 1])
    names = {"_type": "ClassLabel", "names": ["x", "y"]}
    features = {"fine": names | {"names": ["a", "b", "c"]}, "coarse": names}
    columns = {"img": images(range(6)), "fine": fine, "coarse": coarse}
    path = save(tmp_path / "a.parquet", columns, features)
    with pytest.raises(DataError, match=r"could be the label: fine, coarse; name .*--label-column"):
        data.load(path, CONFIG)
    chosen = DataConfig(image_size=8, label_column="coarse")
    assert data.load(path, chosen).labels == ("x", "y")
    with pytest.raises(DataError, match=r"--image-column is photo; .* has img, fine, coarse"):
        data.load(path, DataConfig(image_column="photo"))
    with pytest.raises(DataError, match=r"--image-column is fine, which holds int64; it must"):
        data.load(path, DataConfig(image_column="fine"))


def test_declared_columns_come_before_those_of_a_fitting_type(tmp_path: Path) -> None:
    columns = {
        "id": pa.array([5, 6, 7, 8]),
        "thumbnail": pa.array([b"x"] * 4),
        "photo": images(range(4)),
        "breed": pa.array([0, 1, 0, 1]),
    }
    features = {"photo": CLASSES["image"], "breed": CLASSES["label"], "id": {"dtype": "int64"}}
    path = save(tmp_path / "a.parquet", columns, features)
    dataset = data.load(path, CONFIG)
    assert dataset.labels == ("ant", "bee")
    assert dataset.train.targets.tolist() == [0, 1]


def test_without_pictures_or_classes_the_columns_are_listed(tmp_path: Path) -> None:
    path = save(tmp_path / "a.parquet", {"x": pa.array([0.5]), "label": pa.array([1])})
    with pytest.raises(DataError, match=r"no column that could be the image: .*'x', 'label'"):
        data.load(path, CONFIG)
    path = save(tmp_path / "b.parquet", {"x": pa.array([0.5]), "image": images([1])})
    with pytest.raises(DataError, match="no column that could be the label"):
        data.load(path, CONFIG)


def test_an_unreadable_row_is_named_and_left_out_only_if_asked(tmp_path: Path) -> None:
    root = pair(tmp_path)
    rows = [png(30), b"no picture", png(31), None, png(32)]
    column = pa.array([{"bytes": each, "path": "x"} for each in rows])
    path = root / "train-00001-of-00002.parquet"
    save(path, {"image": column, "label": pa.array([0, 1, 1, 0, 1])}, CLASSES)
    with pytest.raises(DataError) as caught:
        data.load(root, CONFIG)
    assert f"{path} row 1: 10 bytes that are no JPEG" in str(caught.value)
    assert f"{path} row 3: the row has no bytes of a picture" in str(caught.value)
    config = DataConfig(image_size=8, skip_unreadable=True)
    assert data.load(root, config).train.targets.tolist() == [0, 1, 0, 1, 0, 0, 1, 1]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 2], "test split of .* has 1 labels .* row 1 has 2"),
        ([0, None], "test split of .* has 1 labels .* row 1 has -1"),
    ],
)
def test_labels_out_of_range_are_named(
    tmp_path: Path, labels: list[int | None], message: str
) -> None:
    columns = {"image": images([40, 41]), "label": pa.array(labels, pa.int64())}
    save(pair(tmp_path) / "test-00000-of-00001.parquet", columns, CLASSES)
    with pytest.raises(DataError, match=message):
        data.load(tmp_path, CONFIG)


def test_a_test_split_without_labels_gives_way_to_validation(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pair(tmp_path)
    unknown = pa.array([-1, -1, -1])
    path = tmp_path / "test-00000-of-00001.parquet"
    save(path, {"image": images([1, 2, 3]), "label": unknown}, CLASSES)
    both = {"image": images([50, 51]), "label": pa.array([0, 1])}
    save(tmp_path / "validation-0.parquet", both, CLASSES)
    assert len(data.load(tmp_path, CONFIG).test) == 2
    assert "the test split has no labels and is not used" in caplog.text


def test_classes_that_only_the_test_has_are_refused(tmp_path: Path) -> None:
    for split, words in (("train", ["a", "b"]), ("test", ["a", "c"])):
        columns = {"image": images([1, 2]), "label": pa.array(words)}
        save(tmp_path / f"{split}.parquet", columns)
    with pytest.raises(DataError, match="has classes that the training files lack: c"):
        data.load(tmp_path, CONFIG)


def test_several_folders_of_files_are_told_apart_by_the_user(tmp_path: Path) -> None:
    files = [pair(tmp_path / name) / "test-00000-of-00001.parquet" for name in ("one", "two")]
    with pytest.raises(DataError, match="several folders, one, two; name one of them"):
        data.parquet.find(files, tmp_path, CONFIG)


def test_splits_without_train_and_damaged_files_are_refused(tmp_path: Path) -> None:
    pair(tmp_path / "a")
    for path in (tmp_path / "a").glob("train*"):
        path.unlink()
    with pytest.raises(DataError, match="has parquet files for test and none for train"):
        data.load(tmp_path / "a", CONFIG)
    (tmp_path / "train.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(DataError, match=r"train\.parquet cannot be read as parquet"):
        data.load(tmp_path, CONFIG)


def test_pictures_are_unpacked_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data_cache: Path
) -> None:
    root = pair(tmp_path / "insects")
    before = data.load(root, CONFIG).fingerprint()
    assert len(list((data_cache / "unpacked").iterdir())) == 2  # and nothing half done
    with monkeypatch.context() as patch:
        patch.setattr(unpack, "_write", lambda *_: pytest.fail("unpacked again"))
        assert data.load(root, CONFIG).fingerprint() == before
    columns = {"image": images([60, 61]), "label": pa.array([1, 0])}
    save(root / "test-00000-of-00001.parquet", columns, CLASSES)
    assert data.load(root, CONFIG).fingerprint() != before


def test_a_full_disk_leaves_nothing_half_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data_cache: Path
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(unpack.np, "save", full)
    root = pair(tmp_path / "insects")
    with pytest.raises(DataError, match="No space left on device; ATTNVGG_DATA names another"):
        data.load(root, CONFIG)
    assert list((data_cache / "unpacked").iterdir()) == []
