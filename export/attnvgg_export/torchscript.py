"""Writes a graph as TorchScript, for programs that embed libtorch."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from attnvgg_export.graph import ExportGraph


def export(graph: ExportGraph, height: int, width: int, path: Path) -> None:
    """Traces the graph, freezes it and writes it; the outputs are a tuple in the bundle's order."""
    example = torch.zeros(2, height, width, 3, dtype=torch.uint8)
    with _quiet():
        traced = torch.jit.trace(graph, example, check_trace=False)
        buffer = io.BytesIO()
        torch.jit.save(torch.jit.freeze(traced), buffer)
    # Written by Python: a full disk is an OSError, as with the other files.
    path.write_bytes(buffer.getbuffer())


def load(path: Path) -> torch.jit.ScriptModule:
    """Reads a file that `export` wrote."""
    with _quiet():
        return torch.jit.load(str(path))  # type: ignore[no-any-return]


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        # torch 2.13 points to torch.export instead; C++ hosts without Python still need this.
        warnings.simplefilter("ignore", DeprecationWarning)
        # Grids and statistics become constants, as they should; parity runs other batches.
        warnings.simplefilter("ignore", torch.jit._trace.TracerWarning)
        yield
