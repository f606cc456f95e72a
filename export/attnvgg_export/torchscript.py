"""Writes a graph as TorchScript, for programs that embed libtorch."""

import io
import json
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch

from attnvgg_export.graph import ExportGraph

METADATA = "attnvgg.json"


def export(
    graph: ExportGraph, height: int, width: int, path: Path, metadata: Mapping[str, object]
) -> None:
    """Traces the graph, freezes it and writes it; the outputs are a tuple in the bundle's order.

    `metadata` is the extra file attnvgg.json (torch.jit.load(..., _extra_files=...)).
    """
    example = torch.zeros(2, height, width, 3, dtype=torch.uint8)
    with _quiet():
        traced = torch.jit.trace(graph, example, check_trace=False)
        buffer = io.BytesIO()
        extra = {METADATA: json.dumps(metadata)}
        torch.jit.save(torch.jit.freeze(traced), buffer, _extra_files=extra)
    _without_debug_files(buffer, path)


def load(path: Path) -> torch.jit.ScriptModule:
    """Reads a file that `export` wrote."""
    with _quiet():
        return torch.jit.load(str(path))  # type: ignore[no-any-return]


def _without_debug_files(archive: io.BytesIO, path: Path) -> None:
    """Leaves out the source locations, which hold the paths of this machine.

    Written by Python: a full disk is an OSError, as with the other files.
    """
    with zipfile.ZipFile(archive) as whole, zipfile.ZipFile(path, "w") as kept:
        for entry in whole.infolist():
            if not entry.filename.endswith(".debug_pkl"):
                kept.writestr(zipfile.ZipInfo(entry.filename), whole.read(entry))


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        # torch 2.13 points to torch.export instead; C++ hosts without Python still need this.
        warnings.simplefilter("ignore", DeprecationWarning)
        # Grids and statistics become constants, as they should; parity runs other batches.
        warnings.simplefilter("ignore", torch.jit._trace.TracerWarning)
        yield
