"""Checkpoints on disk: RUN/epoch-NNNN/, with RUN/last and RUN/best pointing at two of them.

A checkpoint is written into a folder beside its place and renamed, so that a folder named
epoch-NNNN is always whole; the links are swapped by rename as well (files.py). It holds

    model.safetensors    the weights to use: the averaged ones where averaging is on
    checkpoint.json      everything else that rebuilds the network, and where it came from
    training-state.pt    for resume only; read with weights_only, so nothing in it can run

A save within an epoch is RUN/epoch-NNNN-step-SSSSSS/: the epoch in progress and the steps done.
RUN/last points to it until the epoch's own takes its place; its weights are not tested.
No pickle that could execute is ever read.
"""

import io
import json
import platform
import re
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

from attnvgg_training import files
from attnvgg_training.config import Config
from attnvgg_training.errors import CheckpointError, TrainingError
from attnvgg_training.files import point
from attnvgg_training.models import build
from attnvgg_training.network import Network
from attnvgg_training.recipes import from_dict

__all__ = [
    "RECORD",
    "SCHEMA_VERSION",
    "STATE",
    "WEIGHTS",
    "Record",
    "load_model",
    "load_state",
    "point",
    "provenance",
    "prune",
    "read",
    "save",
]

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
    """checkpoint.json.

    mean, std: of the training pictures, a channel each, from 0 to 1.
    metrics: of the epoch; of a save within an epoch only how far it is.
    initialised_from: what tells the checkpoint from others that the run started from, if it did.
    """

    config: Config
    labels: tuple[str, ...]
    mean: list[float]
    std: list[float]
    metrics: dict[str, Any]
    data: dict[str, Any]
    provenance: dict[str, Any] = field(default_factory=provenance)
    initialised_from: dict[str, Any] | None = None
    schema_version: int = SCHEMA_VERSION

    def to_json(self) -> str:
        """The file's text."""
        values = {**asdict(self), "config": self.config.to_dict()}
        return json.dumps(values, indent=2, ensure_ascii=False) + "\n"


def save(
    run: Path,
    epoch: int,
    weights: dict[str, Tensor],
    record: Record,
    state: dict[str, Any],
    step: int | None = None,
) -> Path:
    """Writes RUN/epoch-NNNN whole or not at all, and points RUN/last at it.

    Args:
        step: of an epoch in progress, the steps done.

    Raises:
        CheckpointError: there is no room for it; the checkpoints before are as they were.
    """
    final = run / (f"epoch-{epoch:04d}" + (f"-step-{step:06d}" if step is not None else ""))
    # Serialised first and written by Python: a full disk is an OSError, whoever serialised.
    buffer = io.BytesIO()
    torch.save(state, buffer)
    contents: dict[str, files.Content] = {
        WEIGHTS: serialize({k: v.contiguous() for k, v in weights.items()}),
        STATE: buffer.getbuffer(),
        RECORD: record.to_json().encode(),
    }
    try:
        files.write_folder(final, contents)
        point(run / "last", final)
    except OSError as error:
        raise CheckpointError(_unwritten(final, contents, error)) from error
    return final


def prune(run: Path, keep: int) -> None:
    """Deletes all but the newest `keep` epochs and what RUN/last and RUN/best point at."""
    linked = {(run / link).resolve() for link in ("last", "best")}
    epochs = [path for path in run.glob("epoch-*") if re.fullmatch(r"epoch-\d+", path.name)]
    newest = sorted(epochs, key=lambda path: int(path.name.split("-")[1]))[-keep:]
    for old in run.glob("epoch-*"):
        if old not in newest and old.resolve() not in linked:
            files.remove(old)


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
            initialised_from=values.get("initialised_from"),
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


def load_model(folder: Path) -> tuple[Network, Record]:
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


def _unwritten(folder: Path, contents: dict[str, files.Content], error: OSError) -> str:
    need = sum(memoryview(each).nbytes for each in contents.values()) / 1e6
    free = shutil.disk_usage(folder.parent).free / 1e6 if folder.parent.is_dir() else 0
    last = folder.parent / "last"
    kept = f"{last} is still {last.readlink()}" if last.is_symlink() else "nothing was saved before"
    return (
        f"{folder} cannot be written: {error.strerror or error}; it needs {need:.1f} MB, and "
        f"{free:.1f} MB are free there; {kept}"
    )


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
