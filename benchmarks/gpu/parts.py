"""Brings a checkpoint back from a machine that gives few megabytes a file.

    python benchmarks/gpu/parts.py split CHECKPOINT --out DIR   part-0.safetensors ..., parts.json
    python benchmarks/gpu/parts.py join DIR --out CHECKPOINT    a checkpoint again, hashes checked

Matrices and convolutions travel as float16, everything else (batch norm, biases, u) as it is. That
rounds the weights: measure the accuracy of what was joined. What only resume needs stays behind.
Needs torch and safetensors, and nothing of the source tree.
"""

import argparse
import hashlib
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, load_file, save
from torch import Tensor

MOST = 15_500_000  # bytes of the tensors of a part; the header comes on top
INDEX, WEIGHTS, RECORD = "parts.json", "model.safetensors", "checkpoint.json"


class PartsError(ValueError):
    """A checkpoint cannot be split or joined; the message says why."""


def main(argv: list[str] | None = None) -> int:
    """Exit codes: 0 done, 2 something is missing or damaged."""
    parser = argparse.ArgumentParser("parts.py", description=__doc__, allow_abbrev=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("command", choices=("split", "join"))
    parser.add_argument("source", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args(argv)
    try:
        {"split": split, "join": join}[arguments.command](arguments.source, arguments.out)
    except (ValueError, OSError, SafetensorError) as error:
        print(f"parts.py: {error}", file=sys.stderr)
        return 2
    return 0


def split(checkpoint: Path, out: Path, most: int = MOST) -> None:
    """Writes the parts, their index last; `checkpoint` may be a link such as RUN/last.

    Raises:
        PartsError: a weight is too large for float16, or for a part.
    """
    weights = {name: _small(name, value) for name, value in load_file(checkpoint / WEIGHTS).items()}
    out.mkdir(parents=True, exist_ok=True)
    hashes = {}
    for number, part in enumerate(_groups(weights, most)):
        content = save(part)
        (out / f"part-{number}.safetensors").write_bytes(content)
        hashes[f"part-{number}.safetensors"] = hashlib.sha256(content).hexdigest()
    shutil.copy(checkpoint / RECORD, out / RECORD)
    index = {"checkpoint": checkpoint.resolve().name, "parts": hashes}
    (out / INDEX).write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")
    print(f"{out}: {len(weights)} tensors in {len(hashes)} parts")


def join(folder: Path, out: Path) -> None:
    """Writes a checkpoint in float32, with a word about the rounding in its provenance.

    Raises:
        PartsError: a part is missing or damaged, or `out` is there already.
    """
    if out.exists():
        raise PartsError(f"--out {out} is there already; name another folder, or delete it")
    index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    weights: dict[str, Tensor] = {}
    for name, digest in index["parts"].items():
        content = (folder / name).read_bytes()
        if hashlib.sha256(content).hexdigest() != digest:
            raise PartsError(f"{folder / name} is damaged: its sha256 is another")
        weights |= {k: v.float() if v.is_floating_point() else v for k, v in load(content).items()}
    record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    record["provenance"]["transport"] = "matrices and convolutions were rounded to float16"
    fresh = out.with_name(f".{out.name}.tmp")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    (fresh / WEIGHTS).write_bytes(save(weights))
    text = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
    (fresh / RECORD).write_text(text, encoding="utf-8")
    fresh.rename(out)
    print(f"{out}: {len(weights)} tensors, {index['checkpoint']}")


def _small(name: str, value: Tensor) -> Tensor:
    """Running variances may exceed what float16 holds, and weigh nothing: only matrices shrink."""
    if value.ndim < 2 or not value.is_floating_point():
        return value
    half = value.to(torch.float16)
    if not half.isfinite().all():
        largest = value.abs().max().item()
        raise PartsError(f"{name} has a weight of {largest:g}; float16 ends at 65504")
    return half


def _groups(weights: dict[str, Tensor], most: int) -> Iterator[dict[str, Tensor]]:
    """One part's tensors after the other, in the order of the network."""
    group: dict[str, Tensor] = {}
    room = most
    for name, value in weights.items():
        if value.nbytes > most:
            raise PartsError(f"{name} has {value.nbytes:,} bytes; a part holds {most:,}")
        if value.nbytes > room:
            yield group
            group, room = {}, most
        group[name] = value
        room -= value.nbytes
    yield group


if __name__ == "__main__":
    sys.exit(main())
