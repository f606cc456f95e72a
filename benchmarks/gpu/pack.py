"""Brings a data set of small pictures to a machine that takes few megabytes at a time.

    python benchmarks/gpu/pack.py pack SPEC --out DIR       whatever attnvgg-train reads
    python benchmarks/gpu/pack.py unpack DIR --out FOLDER   class folders, for attnvgg-train

`pack` writes DIR/1, DIR/2, ...: each is one load, to be carried alone, and the loads' files are put
into one folder there, which `unpack` reads. The files are .npz parts of under 20 MB without pickle:
strips of pictures as lossless WebP, their targets, and the sha256 of their pixels. pack.json, in
the first load, has the labels and the sha256 of every part, so that nothing is missed or mixed up.
CIFAR makes two loads. Needs numpy and Pillow; `pack` needs the training package too.
"""

import argparse
import hashlib
import io
import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

MB = 1_000_000
INDEX = "pack.json"
STRIP_ROWS = 8000  # WebP allows 16,383


class PackError(ValueError):
    """Something cannot be packed or unpacked; the message says what."""


def main(argv: list[str] | None = None) -> int:
    """Exit codes: 0 done, 2 something is missing or damaged."""
    arguments = _parse(argv)
    try:
        if arguments.command == "pack":
            pack(arguments.source, arguments.out, arguments.size, arguments.part, arguments.load)
        else:
            unpack(arguments.source, arguments.out)
    except (ValueError, OSError) as error:  # TrainingError is a ValueError
        print(f"pack.py: {error}", file=sys.stderr)
        return 2
    return 0


def pack(source: str, out: Path, size: int = 32, part_mb: float = 10, load_mb: float = 52) -> None:
    """Writes the loads of both splits of a data set at size x size.

    Raises:
        DataError: the data set cannot be read.
        PackError: `out` is there already.
    """
    from attnvgg_training import data
    from attnvgg_training.config import DataConfig

    if out.exists():
        raise PackError(f"--out {out} is there already; name another folder, or delete it")
    found = data.load(source, DataConfig(image_size=size))
    parts: list[dict[str, Any]] = []
    load, room = 0, 0.0
    for name, split in (("train", found.train), ("test", found.test)):
        for arrays in _parts(split, size, int(part_mb * MB)):
            content = _npz(arrays)
            if len(content) > room:
                load, room = load + 1, load_mb * MB
            room -= len(content)
            file = out / str(load) / f"part-{len(parts):03d}.npz"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
            digest, count = hashlib.sha256(content).hexdigest(), len(arrays["targets"])
            parts.append({"file": file.name, "split": name, "pictures": count, "sha256": digest})
    index = {"labels": found.labels, "size": size, "parts": parts}
    (out / "1" / INDEX).write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")
    print(f"{out}: {len(parts)} parts in {load} loads")


def unpack(folder: Path, out: Path) -> None:
    """Writes OUT/SPLIT/LABEL/NNNNN.png, whole or not at all.

    Raises:
        PackError: a part is missing or damaged, or `out` is there already.
    """
    if out.exists():
        raise PackError(f"--out {out} is there already; name another folder, or delete it")
    index = _index(folder)
    fresh = out.with_name(f".{out.name}.tmp")
    for split in {part["split"] for part in index["parts"]}:
        for label in index["labels"]:
            (fresh / split / label).mkdir(parents=True, exist_ok=True)
    number = 0
    with ThreadPoolExecutor() as pool:
        for part in index["parts"]:
            pictures, targets = _read(folder, part, index["size"])
            paths = [
                fresh / part["split"] / index["labels"][target] / f"{number + i:05d}.png"
                for i, target in enumerate(targets)
            ]
            list(pool.map(_save, pictures, paths))
            number += len(targets)
    fresh.rename(out)
    print(f"{out}: {number} pictures of {len(index['labels'])} classes")


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("pack.py", description=__doc__, allow_abbrev=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    commands = parser.add_subparsers(dest="command", required=True)
    packing = commands.add_parser("pack", help="make the parts")
    packing.add_argument("source", metavar="SPEC", help="the data set, as attnvgg-train takes it")
    packing.add_argument("--size", type=int, default=32, help="height and width (32)")
    packing.add_argument("--part", type=float, default=10, metavar="MB", help="of a part (10)")
    packing.add_argument("--load", type=float, default=52, metavar="MB", help="of a load (52)")
    unpacking = commands.add_parser("unpack", help="make class folders of them")
    unpacking.add_argument("source", metavar="DIR", type=Path, help="the parts of all loads")
    for each in (packing, unpacking):
        each.add_argument("--out", type=Path, required=True)
    return parser.parse_args(argv)


def _parts(split: Any, size: int, most: int) -> Iterator[dict[str, NDArray[Any]]]:
    """The arrays of one part after the other; a part ends before it has `most` bytes."""
    import torch

    strips: list[bytes] = []
    targets: list[NDArray[np.int64]] = []
    digest = hashlib.sha256()
    for indices in torch.arange(len(split)).split(max(1, STRIP_ROWS // size)):
        pixels = split.pixels(indices).numpy()
        strip = _encode(pixels.reshape(-1, size, 3))
        if strips and sum(map(len, strips)) + len(strip) > most:
            yield _arrays(strips, targets, digest.hexdigest())
            strips, targets, digest = [], [], hashlib.sha256()
        strips.append(strip)
        targets.append(split.targets[indices].numpy())
        digest.update(pixels.tobytes())
    yield _arrays(strips, targets, digest.hexdigest())


def _arrays(
    strips: list[bytes], targets: list[NDArray[np.int64]], digest: str
) -> dict[str, NDArray[Any]]:
    return {
        "data": np.frombuffer(b"".join(strips), np.uint8),
        "offsets": np.cumsum([0, *map(len, strips)]),
        "targets": np.concatenate(targets).astype(np.uint16),
        "sha256": np.array(digest),
    }


def _npz(arrays: dict[str, NDArray[Any]]) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, allow_pickle=False, **arrays)  # type: ignore[arg-type]
    return stream.getvalue()


def _encode(strip: NDArray[np.uint8]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(strip).save(stream, "WEBP", lossless=True, quality=50)
    return stream.getvalue()


def _index(folder: Path) -> dict[str, Any]:
    """pack.json; every part that it names is there."""
    path = folder / INDEX
    if not path.is_file():
        raise PackError(f"{folder} has no {INDEX}; it came with the first load")
    index: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    missing = [p["file"] for p in index["parts"] if not (folder / p["file"]).is_file()]
    if missing:
        raise PackError(f"{folder} lacks {', '.join(missing)}; put the files of all loads there")
    return index


def _read(
    folder: Path, part: dict[str, Any], size: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
    """Pictures uint8 [N, size, size, 3] and targets of one part."""
    content = (folder / part["file"]).read_bytes()
    if hashlib.sha256(content).hexdigest() != part["sha256"]:
        raise PackError(f"{folder / part['file']} is damaged: its sha256 is another")
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        blob, offsets = arrays["data"].tobytes(), arrays["offsets"]
        targets, digest = arrays["targets"], str(arrays["sha256"])
    strips = [
        np.asarray(Image.open(io.BytesIO(blob[start:end]), formats=["WEBP"]).convert("RGB"))
        for start, end in pairwise(offsets)
    ]
    pixels = np.concatenate(strips).reshape(-1, size, size, 3)
    if hashlib.sha256(pixels.tobytes()).hexdigest() != digest:
        raise PackError(f"{folder / part['file']}: its pictures are not those that were packed")
    return pixels, targets


def _save(picture: NDArray[np.uint8], path: Path) -> None:
    Image.fromarray(picture).save(path, compress_level=1)


if __name__ == "__main__":
    sys.exit(main())
