"""Fine-tuning: the weights of a checkpoint as the start of another run.

The paper's networks for CUB start so from those for CIFAR-100. The classifier, the head's last
linear layer, starts afresh where the classes differ; everything else has to fit by name and shape.
The pictures may be of another size: no weight depends on it.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from attnvgg_training import checkpoint
from attnvgg_training.errors import CheckpointError, ConfigError
from attnvgg_training.models import ModelConfig, build
from attnvgg_training.recipes import as_flag

log = logging.getLogger(__name__)
Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Initial:
    """weights: by the names of the new network, those that are taken over. identity: the record's
    `initialised_from`."""

    weights: dict[str, Tensor]
    identity: dict[str, Any]


def load(folder: Path, config: ModelConfig, labels: tuple[str, ...]) -> Initial:
    """Reads what a network of `config` with these labels can take from a checkpoint.

    Raises:
        CheckpointError: it cannot be read, or its network is another one.
    """
    model, record = checkpoint.load_model(folder)
    weights = model.state_dict()
    classes = len(labels)
    same = record.labels == labels
    afresh = [] if same else [name for name in weights if _classifies(name)]
    ours = _shapes(config, classes)
    kept = {name: value for name, value in weights.items() if name not in afresh}
    wrong = _differences({n: tuple(w.shape) for n, w in kept.items()}, ours, set(afresh))
    if wrong:
        raise CheckpointError(_refusal(folder, record.config.model, config, classes, wrong))
    log.info("%s: %d of %d tensors taken over", folder, len(kept), len(weights))
    if afresh:
        before, names = len(record.labels), ", ".join(afresh)
        log.info("other classes (%d, now %d): %s start afresh", before, classes, names)
    facts = {**identity(folder), "network": record.config.model.name, "afresh": afresh}
    return Initial(kept, facts)


def identity(folder: Path) -> dict[str, Any]:
    """What tells a checkpoint from others: the hash of its weights.

    Raises:
        CheckpointError: there are none.
    """
    try:
        return {"sha256": sha256((folder / checkpoint.WEIGHTS).read_bytes()).hexdigest()}
    except OSError as error:
        raise CheckpointError(f"--init {folder} cannot be read: {error.strerror}") from error


def _classifies(name: str) -> bool:
    parts = name.split(".")
    return parts[0] == "head" and parts[-2] == "classify"


def _shapes(config: ModelConfig, classes: int) -> Shapes:
    with torch.device("meta"):
        return {n: tuple(w.shape) for n, w in build(config, classes).state_dict().items()}


def _differences(theirs: Shapes, ours: Shapes, afresh: set[str]) -> list[str]:
    names = [*ours, *(name for name in theirs if name not in ours)]
    return [n for n in names if n not in afresh and theirs.get(n) != ours.get(n)]


def _refusal(
    folder: Path, theirs: ModelConfig, ours: ModelConfig, classes: int, wrong: list[str]
) -> str:
    """Names the first setting that alone makes the network another one."""
    rest = f"{len(wrong)} of its weights do not fit, such as {wrong[0]}"
    for field in fields(ModelConfig):
        before, now = getattr(theirs, field.name), getattr(ours, field.name)
        if before != now and _matters(theirs, field.name, now, classes):
            return (
                f"--init {folder} was trained with {field.name} = {before!r}, now it is {now!r}: "
                f"{rest}; give it --{field.name.replace('_', '-')} {as_flag(before)}"
            )
    return f"--init {folder} does not fit the network: {rest}"


def _matters(theirs: ModelConfig, name: str, value: Any, classes: int) -> bool:
    change: Mapping[str, Any] = {name: value}
    try:
        return _shapes(replace(theirs, **change), classes) != _shapes(theirs, classes)
    except ConfigError:  # the two cannot be mixed, so the setting decides
        return True
