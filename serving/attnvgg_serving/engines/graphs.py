"""Which graph of a bundle is meant by a precision."""

from pathlib import Path
from typing import TYPE_CHECKING

from attnvgg_bundle.manifest import Manifest
from attnvgg_serving.errors import StartError

if TYPE_CHECKING:
    from attnvgg_serving.registry import Bundle

FILES = {"fp32": "model.onnx", "int8": "model.int8.onnx", "fp16": "model.fp16.onnx"}
_FORMATS = {"fp32": "onnx", "int8": "onnx,int8 --data DIR", "fp16": "onnx,fp16"}


def held(manifest: Manifest) -> list[str]:
    """The precisions that a bundle has a graph for."""
    return [precision for precision, file in FILES.items() if file in manifest.files]


def path(bundle: "Bundle", precision: str) -> Path:
    """The graph's file.

    Raises:
        StartError: the bundle has none of this precision.
    """
    if precision not in held(bundle.manifest):
        there = ", ".join(held(bundle.manifest)) or "none that onnxruntime runs"
        raise StartError(
            f"ATTNVGG_PRECISION is {precision!r} but {bundle.folder} has no {FILES[precision]} "
            f"(it has: {there}); `attnvgg-export build CHECKPOINT --out NAME/VERSION "
            f"--formats {_FORMATS[precision]}` writes it"
        )
    return bundle.folder / FILES[precision]
