"""The formats of a bundle: their files, what they are for, how far they may be off. No torch."""

from dataclasses import dataclass
from typing import Any

from attnvgg_bundle.manifest import Manifest


@dataclass(frozen=True)
class Tolerance:
    """A value v may differ from the expected e by absolute + relative * |e|; in a map, which is
    compared as h * w * a, by maps + relative * |e|."""

    absolute: float
    relative: float
    maps: float

    def __str__(self) -> str:
        return f"{self.absolute:g} + {self.relative:.1%} of the value"


@dataclass(frozen=True)
class Spread:
    """For graphs of other arithmetic, where single cells of a peaky map say little.

    Of no picture may probabilities or a map have a total variation distance from the expected of
    more than `variation`, nor the descriptor a distance of more than that part of its length.
    """

    variation: float

    def __str__(self) -> str:
        return f"{self.variation:.0%} of a map's total in the worst picture"


Limit = Tolerance | Spread


@dataclass(frozen=True)
class HeldOut:
    """What a format of other arithmetic may lose against model.onnx on held-out pictures.

    loss: of accuracy, from 0 to 1. A level's maps may have a mean correlation below `correlation`
    only where their mean total variation distance is at most `variation`.
    """

    loss: float = 0.003
    correlation: float = 0.99
    variation: float = 0.02


@dataclass(frozen=True)
class Format:
    """One graph of a bundle. `held_out` is None where the values alone are judged."""

    file: str
    what: str
    runs_on: str
    limit: Limit
    held_out: HeldOut | None = None


FLOAT32 = Tolerance(absolute=1e-4, relative=1e-3, maps=1e-4)
# sparsemax passes the rounding of the scores on unscaled: on a grid of 32x32 it counts 1024 times.
SPARSEMAX = Tolerance(absolute=1e-4, relative=1e-3, maps=2e-2)

FORMATS = {
    "onnx": Format("model.onnx", "ONNX, float32", "every server", FLOAT32),
    "int8": Format(
        "model.int8.onnx",
        "ONNX, 8-bit convolutions (static, calibrated on --data)",
        "CPUs",
        Spread(0.25),
        HeldOut(),
    ),
    "fp16": Format(
        "model.fp16.onnx",
        "ONNX, float16 convolutions",
        "GPUs",
        Tolerance(absolute=2e-2, relative=2e-2, maps=2e-2),
        HeldOut(),
    ),
    "torchscript": Format(
        "model.torchscript.pt", "TorchScript, float32", "programs with libtorch", FLOAT32
    ),
}


def limit(name: str, normalisation: str) -> Limit:
    """How far a format of a network with this normalisation may be off."""
    usual = FORMATS[name].limit
    return SPARSEMAX if usual == FLOAT32 and normalisation == "sparsemax" else usual


def limit_of(report: dict[str, Any]) -> Limit:
    """The limit that a format's part of parity.json names."""
    stored = report["tolerance"]
    return Spread(**stored) if "variation" in stored else Tolerance(**stored)


def graphs(bundle: Manifest) -> dict[str, str]:
    """Format -> file, of the formats that a bundle holds."""
    return {name: f.file for name, f in FORMATS.items() if f.file in bundle.files}


def table() -> str:
    """The formats as a Markdown table, for the README."""
    rows = [
        f"| `{name}` | `{f.file}` | {f.what} | {f.runs_on} | {f.limit} |"
        for name, f in FORMATS.items()
    ]
    head = "| format | file | what | for | may be off by |\n|---|---|---|---|---|\n"
    return head + "\n".join(rows) + "\n"


def listing() -> str:
    """The formats as plain lines, for --help."""
    return "\n".join(f"  {name:<12}{f.what}; for {f.runs_on}" for name, f in FORMATS.items())
