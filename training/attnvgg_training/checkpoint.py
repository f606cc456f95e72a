"""Checkpoints on disk: RUN/epoch-NNNN/, with RUN/last and RUN/best pointing at two of them.

A checkpoint is written into a folder beside its place and renamed, so that a folder named
epoch-NNNN is always whole; the links are swapped by rename as well. It holds

    model.safetensors    the weights to use: the averaged ones where averaging is on
    checkpoint.json      everything else that rebuilds the network, and where it came from
    training-state.pt    for resume only; read with weights_only, so nothing in it can run

No pickle that could execute is ever read.
"""

import io
import json
import os
import platform
import shutil
import subprocess
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as serialize
from torch import Tensor

from attnvgg_training.config import Config
from attnvgg_training.errors import CheckpointError, TrainingError
from attnvgg_training.models import build
from attnvgg_training.recipes import from_dict
from attnvgg_training.vgg import AttentionVGG

SCHEMA_VERSION = 1
WEIGHTS, RECORD, STATE = "model.safetensors", "checkpoint.json", "training-state.pt"


@cache
def provenance() -> dict[str, Any]:
    """Versions of what computes, and the git revision of this code where it is known.

    Asked first when a run starts: the working tree may change before it ends.
    """
    names = ("attnvgg", "torch", "torchvision", "numpy", "pillow", "safetensors")
    return {
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in names},
        "git_revision": _revision(),
    }


@dataclass(frozen=True)
class Record:
    """checkpoint.json. mean and std: of the training pictures, a channel each, from 0 to 1."""

    config: Config
    labels: tuple[str, ...]
    mean: list[float]
    std: list[float]
    metrics: dict[str, Any]
    data: dict[str, Any]
    provenance: dict[str, Any] = field(default_factory=provenance)
    schema_version: int = SCHEMA_VERSION

    def to_json(self) -> str:
        """The file's text."""
        values = {**asdict(self), "config": self.config.to_dict()}
        return json.dumps(values, indent=2, ensure_ascii=False) + "\n"


def save(
    run: Path, epoch: int, weights: dict[str, Tensor], record: Record, state: dict[str, Any]
) -> Path:
    """Writes RUN/epoch-NNNN whole or not at all, and points RUN/last at it."""
    final = run / f"epoch-{epoch:04d}"
    partial = run / f".epoch-{epoch:04d}.tmp-{os.getpid()}"
    try:
        partial.mkdir(parents=True)
        # Serialised first and written by Python: a full disk is an OSError, whoever serialised.
        (partial / WEIGHTS).write_bytes(serialize({k: v.contiguous() for k, v in weights.items()}))
        buffer = io.BytesIO()
        torch.save(state, buffer)
        (partial / STATE).write_bytes(buffer.getbuffer())
        (partial / RECORD).write_text(record.to_json(), encoding="utf-8")
        if final.exists():
            shutil.rmtree(final)
        partial.rename(final)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    point(run / "last", final)
    return final


def point(link: Path, target: Path) -> None:
    """Makes `link` a symlink to a checkpoint beside it, by rename."""
    fresh = link.with_name(f".{link.name}.tmp-{os.getpid()}")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target.name)
    fresh.replace(link)


def prune(run: Path, keep: int) -> None:
    """Deletes all but the newest `keep` epochs and the best one."""
    best = (run / "best").resolve()
    for old in sorted(run.glob("epoch-*"))[:-keep]:
        if old.resolve() != best:
            shutil.rmtree(old)


def read(folder: Path) -> Record:
    """Reads checkpoint.json.

    Raises:
        CheckpointError: it is missing, damaged, or of another schema.
    """
    path = folder / RECORD
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        found = values.get("schema_version")
        if found != SCHEMA_VERSION:
            raise CheckpointError(
                f"{path} has schema version {found!r}; this attnvgg reads version {SCHEMA_VERSION}"
            )
        return Record(
            config=from_dict(values["config"]),
            labels=tuple(values["labels"]),
            **{k: values[k] for k in ("mean", "std", "metrics", "data", "provenance")},
        )
    except FileNotFoundError:
        raise CheckpointError(f"{folder} is no checkpoint: it has no {RECORD}") from None
    except NotADirectoryError:
        raise CheckpointError(
            f"{folder} is a file; a checkpoint is a folder with {RECORD} and {WEIGHTS}, and "
            "pickled weights are never read"
        ) from None
    except CheckpointError:
        raise
    except TrainingError as error:
        raise CheckpointError(f"{path}: {error}") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} cannot be read: {error!r}") from error


def load_model(folder: Path) -> tuple[AttentionVGG, Record]:
    """Rebuilds a checkpoint's network with its weights, in evaluation mode.

    Raises:
        CheckpointError: see `read`; or the weights are damaged or belong to another network.
    """
    record = read(folder)
    model = build(record.config.model, len(record.labels))
    path = folder / WEIGHTS
    try:
        weights = load_file(path)
        model.load_state_dict(weights)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    except RuntimeError as error:
        classes = weights.get("head.classify.bias", torch.empty(0)).numel()
        raise CheckpointError(
            f"{path} does not fit {RECORD} ({record.config.model.name}, {len(record.labels)} "
            f"labels; the weights have {classes} classes): {str(error).splitlines()[-1].strip()}"
        ) from error
    return model.eval(), record


def load_state(folder: Path) -> dict[str, Any]:
    """Reads what resume needs; weights_only, so a hostile file can do no more than fail.

    Raises:
        CheckpointError: it is missing or damaged.
    """
    path = folder / STATE
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True)
    except Exception as error:  # torch.load raises nearly anything for a damaged file
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    return state


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _revision() -> str | None:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
