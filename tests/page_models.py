"""Models made by hand for the page: one that sees the middle of a picture, and one without maps."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx

from attnvgg_bundle.manifest import Manifest
from golden_bundle import golden_bundle, rehash

BRIGHT, FLAT = "bright", "flat"
FULL_MAP = (24, 32)
"""The grid of bright's only level, conv1: a cell for each pixel that it sees, as bright as that."""


def bright(folder: Path) -> Manifest:
    """Sees the largest part of the shape 4:3 in the middle of a picture; its map is how bright."""
    manifest = golden_bundle(folder)
    return rehash(folder, replace(manifest, input=replace(manifest.input, geometry="center-crop")))


def flat(folder: Path) -> Manifest:
    """The same network without attention."""
    manifest = golden_bundle(folder)
    path = folder / "model.onnx"
    model = onnx.load(path)
    graph = model.graph
    for nodes in (graph.node, graph.output):
        for one in [one for one in nodes if _is_of_a_map(one)]:
            nodes.remove(one)
    onnx.save(model, path)
    with np.load(folder / "golden.npz") as stored:
        kept = {name: stored[name] for name in stored.files if name != "attention_conv1"}
    np.savez(folder / "golden.npz", **kept)
    outputs = tuple(one for one in manifest.outputs if one.name != "attention_conv1")
    return rehash(folder, replace(manifest, outputs=outputs, levels=()))


def _is_of_a_map(one: "onnx.NodeProto | onnx.ValueInfoProto") -> bool:
    names = {one.name} if isinstance(one, onnx.ValueInfoProto) else set(one.output)
    return bool(names & {"bright", "sum", "attention_conv1"})


def labels(folder: Path) -> list[str]:
    """The labels of a bundle."""
    found: list[str] = json.loads((folder / "manifest.json").read_text("utf-8"))["labels"]
    return found
