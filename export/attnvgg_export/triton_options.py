"""What an operator says to `attnvgg-export triton`, checked before a bundle is read."""

import argparse
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path

from attnvgg_export.errors import ExportError
from attnvgg_export.formats import FORMATS

BACKENDS = ("onnxruntime", "python")
KINDS = ("gpu", "cpu")
GRAPHS = {name: each.file for name, each in FORMATS.items() if each.file.endswith(".onnx")}
LARGEST = 2**31 - 1  # of the int32 fields in Triton's configuration


class RepositoryError(ExportError):
    """A Triton model repository cannot be written as asked; nothing of it was changed."""


@dataclass(frozen=True)
class Options:
    """The flags. `kind` None: gpu for onnxruntime, cpu for python."""

    backend: str = "onnxruntime"
    kind: str | None = None
    format: str = "onnx"
    max_batch: int = 64
    instances: int = 1
    threads: int = 0
    decoders: int = 2
    queue_delay_us: int = 500
    max_queue: int = 256
    queue_timeout_ms: int = 30_000

    def __post_init__(self) -> None:
        _one_of("--backend", self.backend, BACKENDS)
        _one_of("--kind", self.processor, KINDS)
        _one_of("--format", self.format, GRAPHS)
        for flag in ("max_batch", "instances", "decoders", "max_queue", "queue_timeout_ms"):
            _whole(flag, getattr(self, flag), 1)
        for flag in ("threads", "queue_delay_us"):
            _whole(flag, getattr(self, flag), 0)

    @property
    def processor(self) -> str:
        """cpu or gpu."""
        return self.kind or ("gpu" if self.backend == "onnxruntime" else "cpu")

    @property
    def graph(self) -> str:
        """The bundle's file that is to run."""
        return GRAPHS[self.format]


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the command `triton`."""
    parser = commands.add_parser(
        "triton",
        help="bundles -> a Triton model repository",
        description="Writes two models a bundle: NAME takes pixels, NAME-encoded JPEG, PNG or WebP "
        "(and NAME-decode, its first step). Run it again after each export: a new version appears "
        "beside the old ones. A Triton without the onnxruntime backend runs --backend python, "
        "with numpy and onnxruntime in its Python; decoding needs numpy and Pillow there.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("models", type=Path, metavar="MODELS_DIR", help="folder of bundles, NAME/VERSION/")
    add("--repository", type=Path, required=True, metavar="DIR", help="made where it is missing")
    add("--backend", default=Options.backend, help="onnxruntime (default), or python")
    add("--kind", help="gpu or cpu; default: gpu for onnxruntime, cpu for python")
    add("--format", default=Options.format, help="which graph: onnx (default), int8 or fp16")
    for flag, text in {
        "--max-batch": "pictures in one forward pass",
        "--instances": "copies of a model, on each GPU or on the CPU",
        "--threads": "threads of one copy's forward pass on the CPU; 0: ONNX Runtime decides",
        "--decoders": "processes that decode pictures, each with up to 4 cores",
        "--queue-delay-us": "longest wait for a batch to fill; 0: whatever waits goes",
        "--max-queue": "requests of one model that may wait, else 503",
        "--queue-timeout-ms": "longest wait in the queue, else 503; a request can only lower it",
    }.items():
        default = getattr(Options, flag.removeprefix("--").replace("-", "_"))
        add(flag, type=int, default=default, metavar="N", help=f"{text} (default {default})")


def options_of(arguments: argparse.Namespace) -> Options:
    """The options that were given on the command line.

    Raises:
        RepositoryError: the first wrong one, with its value.
    """
    return Options(**{each.name: getattr(arguments, each.name) for each in fields(Options)})


def _one_of(flag: str, value: str, allowed: Iterable[str]) -> None:
    if value not in allowed:
        raise RepositoryError(f"{flag} is {value!r}; it must be one of {', '.join(allowed)}")


def _whole(name: str, value: int, least: int) -> None:
    if not least <= value <= LARGEST:
        flag = "--" + name.replace("_", "-")
        raise RepositoryError(f"{flag} is {value}; it must be a whole number from {least} on")
