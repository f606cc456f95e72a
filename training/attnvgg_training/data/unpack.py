"""The pictures of parquet files in one flat file, where any of them is one read away.

It is as large as the pictures in the parquet files are, lies in the cache folder, and is written
once: its name is a hash of the files' names, sizes and times.
"""

import hashlib
import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from attnvgg_bundle.preprocess import PictureError
from attnvgg_training.data import cache
from attnvgg_training.data.columns import opened
from attnvgg_training.data.pictures import decode_stored
from attnvgg_training.errors import DataError

log = logging.getLogger(__name__)
ROWS = 256


@dataclass(frozen=True)
class Unpacked:
    """See Pictures. ends: int64 [N], where each picture ends in the file.

    last_rows: int64 [F], how many rows the parquet files up to each one have.
    """

    path: str
    ends: NDArray[np.int64]
    files: tuple[str, ...]
    last_rows: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ends)

    def name(self, index: int) -> str:
        file = int(np.searchsorted(self.last_rows, index, side="right"))
        row = index - (int(self.last_rows[file - 1]) if file else 0)
        return f"{self.files[file]} row {row}"

    def content(self, index: int) -> bytes:
        start = int(self.ends[index - 1]) if index else 0
        with open(self.path, "rb") as stream:
            stream.seek(start)
            return stream.read(int(self.ends[index]) - start)

    def decode(self, index: int, content: bytes) -> Image.Image:
        if not content:
            raise PictureError("invalid_image", "the row has no bytes of a picture")
        return decode_stored(content)

    def stamp(self) -> str | None:
        return Path(self.path).parent.name


def unpack(files: Sequence[Path], column: str) -> Unpacked:
    """The pictures of a column, from the cache folder where they are there already.

    Raises:
        DataError: a file is damaged, or they cannot be written.
    """
    folder = cache.folder() / "unpacked" / _key(files, column)
    if not folder.is_dir():
        log.info("unpacking the pictures of %d parquet files to %s", len(files), folder)
        _write(files, column, folder)
    ends = np.load(folder / "ends.npy", allow_pickle=False)
    rows = [opened(path).metadata.num_rows for path in files]
    names = tuple(str(path) for path in files)
    return Unpacked(str(folder / "pictures.bin"), ends, names, np.cumsum(rows))


def _key(files: Sequence[Path], column: str) -> str:
    digest = hashlib.sha256(column.encode())
    for path in files:
        found = path.stat()
        digest.update(f"\0{path.resolve()}\0{found.st_size}\0{found.st_mtime_ns}".encode())
    return digest.hexdigest()


def _write(files: Sequence[Path], column: str, folder: Path) -> None:
    fresh = folder.with_name(f".{folder.name}.tmp-{os.getpid()}")
    try:
        fresh.mkdir(parents=True)
        lengths = []
        with (fresh / "pictures.bin").open("wb") as stream:
            lengths = [stream.write(content) for content in _contents(files, column)]
        np.save(fresh / "ends.npy", np.cumsum(lengths, dtype=np.int64))
        fresh.rename(folder)
    except OSError as error:
        if not folder.is_dir():  # another process may have been faster
            raise DataError(
                f"the pictures cannot be unpacked to {folder}: {error.strerror or error}; "
                "ATTNVGG_DATA names another folder"
            ) from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _contents(files: Sequence[Path], column: str) -> Iterator[bytes]:
    for path in files:
        try:
            for batch in opened(path).iter_batches(batch_size=ROWS, columns=[column]):
                yield from map(_bytes, batch.column(0).to_pylist())
        except (OSError, KeyError, pa.ArrowException) as error:
            raise DataError(f"{path}: column {column} cannot be read: {error}") from error


def _bytes(value: Any) -> bytes:
    """Of bytes, or of a struct with them; the hub's files may name a path and hold none."""
    held = value.get("bytes") if isinstance(value, dict) else value
    return held or b""
