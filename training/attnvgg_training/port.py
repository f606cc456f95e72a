"""Weights of the popular port (github.com/SaoYan/LearnToPayAttention) as weights of our networks.

Its two networks, AttnVGG_before and AttnVGG_after, are the paper's fifteen convolutions with three
levels, tapped before or after the pool. What is otherwise in them than in the official code:
- level 1 is projected to 512 channels by a 1x1 convolution (`projector`), instead of g to 256;
- g is a convolution (`dense`) over all that is left, 1x1 at 32x32 pictures;
- the classifier sees the attended features as they are: no batch norm, no dropout;
- a softmax over the scores, or a sigmoid and the average.
The file holds names and numbers alone: whether it was before or after, softmax or sigmoid, only
who trained it knows. Its convolutions have biases and ours none: in evaluation mode a bias b
before a batch norm is a running mean that is smaller by b.
"""

import hashlib
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from attnvgg_training.errors import CheckpointError

WIDTHS = (64, 128, 256, 512, 512)
CONVOLUTIONS = (2, 2, 3, 3, 3, 2)  # of its blocks; a pool follows each of the last block's
LEVELS = {"conv7": "attn1", "conv10": "attn2", "conv13": "attn3"}
KIND = "a checkpoint of SaoYan/LearnToPayAttention"
PREFIX = "module."
COUNTER = "num_batches_tracked"  # of a batch norm; versions of torch before 0.4.1 had none

Weights = dict[str, Tensor]


@dataclass(frozen=True)
class Layer:
    """One of the fifteen convolutions. name, norm: the prefixes of its keys and its batch norm's.
    inputs, outputs: channels."""

    name: str
    norm: str
    inputs: int
    outputs: int


@dataclass(frozen=True)
class Port:
    """What a file says of its network. sha256: of the file. kernel: side of `dense`."""

    weights: Weights
    sha256: str
    classes: int
    attention: bool
    kernel: int


def read(path: Path) -> Port:
    """Reads a file; nothing in it can run.

    Raises:
        CheckpointError: it is damaged or another network's; the message names the key.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error
    weights = _without_prefix(_load(path, content))
    attention = any(key.startswith("attn") for key in weights)
    _check(path, weights, attention)
    classes, kernel = len(weights["classify.bias"]), weights["dense.weight"].shape[-1]
    return Port(weights, hashlib.sha256(content).hexdigest(), classes, attention, kernel)


def translate(port: Port, global_feature: bool) -> Weights:
    """The weights under our names, for the network with or without g."""
    given = port.weights
    ours: Weights = {}
    for index, layer in enumerate(_layers() if global_feature else _layers()[:13]):
        unit, norm = f"units.{index}", layer.norm
        ours[f"{unit}.0.weight"] = given[f"{layer.name}.weight"]
        for name in ("weight", "bias", "running_var"):
            ours[f"{unit}.1.{name}"] = given[f"{norm}.{name}"]
        ours[f"{unit}.1.running_mean"] = given[f"{norm}.running_mean"] - given[f"{layer.name}.bias"]
        ours[f"{unit}.1.{COUNTER}"] = given.get(f"{norm}.{COUNTER}", torch.tensor(0))
    if global_feature:
        ours["global_branch.1.weight"] = given["dense.weight"][:, :, 0, 0]
        ours["global_branch.1.bias"] = given["dense.bias"]
    if port.attention:
        ours["attention.conv7.lift.weight"] = given["projector.op.weight"]
        for level, name in LEVELS.items():
            ours[f"attention.{level}.u"] = given[f"{name}.op.weight"].flatten()
    for name in ("weight", "bias"):
        ours[f"head.classify.{name}"] = given[f"classify.{name}"]
    return {key: value.clone() for key, value in ours.items()}


def _load(path: Path, content: bytes) -> Weights:
    try:
        found = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises nearly anything for a damaged file
        raise CheckpointError(
            f"{path} cannot be read: it is damaged, or pickled code, which is never run; it must "
            "be a state_dict as torch.save writes it"
        ) from error
    if not isinstance(found, Mapping) or not found:
        raise CheckpointError(f"{path} holds a {type(found).__name__}; it must be a state_dict")
    for key, value in found.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise CheckpointError(
                f"{path}: {key!r} is a {type(value).__name__}; a state_dict has names and tensors"
            )
    return {
        key: value.float() if value.is_floating_point() else value for key, value in found.items()
    }


def _without_prefix(weights: Weights) -> Weights:
    """nn.DataParallel, in which the port trains, puts it before every name."""
    if not all(key.startswith(PREFIX) for key in weights):
        return weights
    return {key.removeprefix(PREFIX): value for key, value in weights.items()}


def _layers() -> list[Layer]:
    """The convolutions in order of depth."""
    layers, inputs = [], 3
    for block, count in enumerate(CONVOLUTIONS, start=1):
        outputs = WIDTHS[min(block, len(WIDTHS)) - 1]
        parts = 4 if block == len(CONVOLUTIONS) else 3  # convolution, norm, ReLU; the last's pool
        for place in range(0, parts * count, parts):
            prefix = f"conv_block{block}.op"
            layers.append(Layer(f"{prefix}.{place}", f"{prefix}.{place + 1}", inputs, outputs))
            inputs = outputs
    return layers


def _shapes(attention: bool) -> dict[str, str]:
    """Key -> what its shape must match, such as `512x256x1x1`; K classes, any side of dense."""
    shapes: dict[str, str] = {}
    for layer in _layers():
        shapes[f"{layer.name}.weight"] = f"{layer.outputs}x{layer.inputs}x3x3"
        shapes[f"{layer.name}.bias"] = f"{layer.outputs}"
        for name in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{layer.norm}.{name}"] = f"{layer.outputs}"
    last = WIDTHS[-1]
    shapes["dense.weight"], shapes["dense.bias"] = rf"{last}x{last}x(\d+)x\1", f"{last}"
    if attention:
        shapes["projector.op.weight"] = f"{last}x{WIDTHS[2]}x1x1"
        shapes |= {f"{name}.op.weight": f"1x{last}x1x1" for name in LEVELS.values()}
    features = last * (len(LEVELS) if attention else 1)
    return shapes | {"classify.weight": rf"\d+x{features}", "classify.bias": r"\d+"}


def _check(path: Path, weights: Weights, attention: bool) -> None:
    """Every key that must be there is, in its shape and finite, and no other."""
    shapes = _shapes(attention)
    for key, wanted in shapes.items():
        if key not in weights:
            raise CheckpointError(f"{path} has no {key}; {KIND} has")
        found = "x".join(map(str, weights[key].shape))
        if not re.fullmatch(wanted, found):
            shown = wanted.replace(r"(\d+)x\1", "kxk").replace(r"\d+", "K")
            raise CheckpointError(
                f"{path}: {key} is {found or 'a number'}; in {KIND} it is {shown}"
            )
        if not weights[key].is_floating_point() or not weights[key].isfinite().all():
            raise CheckpointError(f"{path}: {key} is not all finite numbers")
    for key in weights.keys() - shapes.keys():
        if key not in {f"{layer.norm}.{COUNTER}" for layer in _layers()}:
            raise CheckpointError(f"{path} has {key}, which {KIND} has not")
    rows, classes = len(weights["classify.weight"]), len(weights["classify.bias"])
    if rows != classes:
        raise CheckpointError(
            f"{path}: classify.weight has {rows} classes, classify.bias {classes}"
        )
