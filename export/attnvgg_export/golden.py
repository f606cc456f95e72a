"""Golden pictures: what a bundle must answer, wherever it runs. No torch here.

attnvgg_bundle.golden says what golden.npz holds. The pictures are the free photos that ship with
this package (NOTICE beside them says whose), brought to the input size, and random pixels.
"""

from importlib import resources
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from attnvgg_bundle import golden as stored
from attnvgg_bundle import manifest
from attnvgg_bundle.golden import FILE_NAME
from attnvgg_bundle.manifest import Input, IntegrityError, Manifest
from attnvgg_bundle.preprocess import decode, fit
from attnvgg_export import parity
from attnvgg_export.formats import graphs

__all__ = ["COUNT", "FILE_NAME", "pictures", "run", "session_of", "verify"]

COUNT = 16


def pictures(
    spec: Input, count: int = COUNT, size: tuple[int, int] | None = None
) -> NDArray[np.uint8]:
    """uint8 [count, H, W, 3]: the photos, then random pixels, the same at every call.

    H and W are the spec's, or those of `size`.
    """
    height, width = size or (spec.height, spec.width)
    photos = sorted(
        (
            p
            for p in resources.files("attnvgg_export").joinpath("photos").iterdir()
            if p.name.endswith(".jpg")
        ),
        key=lambda p: p.name,
    )
    fitted = [
        fit(decode(p.read_bytes()), height, width, spec.geometry, spec.filter).pixels
        for p in photos[:count]
    ]
    rest = (count - len(fitted), height, width, 3)
    noise = np.random.default_rng(0).integers(0, 256, rest, dtype=np.uint8)
    return np.concatenate([np.stack(fitted), noise])


def verify(folder: Path) -> tuple[Manifest, dict[str, list[parity.Difference]]]:
    """Hashes every file, then runs golden.npz through ONNX Runtime on the CPU.

    Returns:
        The manifest, and by ONNX format the differences found. TorchScript has only its hash.

    Raises:
        BundleError: the manifest or a file is not what was exported.
        DifferenceError: a graph answers something else.
    """
    bundle = manifest.read(folder)
    manifest.verify_files(folder, bundle)
    for name in ("model.onnx", FILE_NAME):
        if name not in bundle.files:
            raise IntegrityError(f"{folder}: the manifest lists no {name}")
    image, expected = stored.read(folder)
    return bundle, {
        name: _verify_graph(folder / file, bundle, name, image, expected)
        for name, file in graphs(bundle).items()
        if file.endswith(".onnx")
    }


def _verify_graph(
    path: Path,
    bundle: Manifest,
    name: str,
    image: NDArray[np.uint8],
    expected: dict[str, NDArray[np.float32]],
) -> list[parity.Difference]:
    session = session_of(path)
    bundle.check_labels(session.get_modelmeta().custom_metadata_map)
    limit = stored.limit(path, bundle, name)
    return parity.compare(expected, run(session, image), limit, f"{path.name} on {FILE_NAME}")


def session_of(model: Path | bytes) -> onnxruntime.InferenceSession:
    """An ONNX Runtime session on the CPU, of a file or of a serialised model."""
    source = model if isinstance(model, bytes) else str(model)
    return onnxruntime.InferenceSession(source, providers=["CPUExecutionProvider"])


def run(
    session: onnxruntime.InferenceSession, image: NDArray[np.uint8]
) -> dict[str, NDArray[np.float32]]:
    """The session's outputs by name."""
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"image": image}), strict=True))
