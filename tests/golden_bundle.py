"""Bundles made by hand that a gateway takes, and what is wrong with others."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from attnvgg_bundle import manifest as manifests
from attnvgg_bundle.manifest import File, Manifest, Sizes, sha256
from plain_bundle import plain_bundle

TOLERANCE = {"absolute": 1e-4, "relative": 1e-3, "maps": 1e-4}


def golden_bundle(folder: Path, gain: float = 1.0, sizes: Sizes | None = None) -> Manifest:
    """plain_bundle with golden.npz and the limits to compare with; `gain` tells versions apart."""
    manifest = plain_bundle(folder, gain, sizes)
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (16, manifest.input.height, manifest.input.width, 3), np.uint8)
    session = onnxruntime.InferenceSession(
        str(folder / "model.onnx"), providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in manifest.outputs]
    found = dict(zip(names, session.run(names, {"image": image}), strict=True))
    np.savez(folder / "golden.npz", image=image, **found)
    manifest = replace(manifest, parity={"onnx": {"tolerance": TOLERANCE}})
    return rehash(folder, manifest)


def rehash(folder: Path, manifest: Manifest | None = None) -> Manifest:
    """Brings the manifest's hashes up to date with the files."""
    manifest = manifest or manifests.read(folder)
    files = {
        path.name: File(sha256(path), path.stat().st_size)
        for path in sorted(folder.iterdir())
        if path.name != manifests.FILE_NAME
    }
    manifest = replace(manifest, files=files)
    manifest.write(folder)
    return manifest


def change_golden(folder: Path) -> None:
    """The bundle no longer answers what golden.npz says; all its hashes agree."""
    with np.load(folder / "golden.npz") as stored:
        golden = {name: stored[name] for name in stored.files}
    golden["probabilities"] = np.roll(golden["probabilities"], 1, axis=1)
    np.savez(folder / "golden.npz", **golden)
    rehash(folder)


def change_hash(folder: Path) -> None:
    """One byte more in the graph."""
    with (folder / "model.onnx").open("ab") as stream:
        stream.write(b"!")


def cut_manifest(folder: Path) -> None:
    path = folder / manifests.FILE_NAME
    path.write_text(path.read_text("utf-8")[:500], "utf-8")


def remove_golden(folder: Path) -> None:
    (folder / "golden.npz").unlink()
    rehash(folder)


def cut_graph(folder: Path) -> None:
    """The graph does not load; all hashes agree."""
    path = folder / "model.onnx"
    path.write_bytes(path.read_bytes()[:-100])
    rehash(folder)


def forget_limits(folder: Path) -> None:
    _edit(folder, lambda record: record.update(parity={}))


def _edit(folder: Path, change: Any) -> None:
    path = folder / manifests.FILE_NAME
    record = json.loads(path.read_text("utf-8"))
    change(record)
    path.write_text(json.dumps(record), "utf-8")


# name -> how a bundle is broken, and what the refusal says
BROKEN = {
    "bad hash": (change_hash, "model.onnx has sha256"),
    "cut manifest": (cut_manifest, "manifest.json cannot be read"),
    "wrong outputs": (change_golden, "on golden.npz (cpu, fp32): probabilities differs by"),
    "no golden pictures": (remove_golden, "golden.npz cannot be used"),
    "cut graph": (cut_graph, "model.onnx cannot be loaded"),
    "no limits": (forget_limits, "the manifest has no parity report for onnx"),
}
