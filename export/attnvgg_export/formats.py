"""The formats of a bundle: their files, what they are for, how far they may be off. No torch."""

from dataclasses import dataclass

from attnvgg_bundle.limits import Limit, Spread, Tolerance, limit_of
from attnvgg_bundle.manifest import Manifest

__all__ = [
    "FORMATS",
    "Format",
    "HeldOut",
    "Limit",
    "Spread",
    "Tolerance",
    "graphs",
    "limit",
    "limit_of",
    "listing",
    "table",
]


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
