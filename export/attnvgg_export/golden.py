"""Golden pictures: what a bundle must answer, wherever it runs. No torch here.

golden.npz holds 16 pictures, uint8 `image` [16, H, W, 3], and PyTorch's float32 answer to each,
under the outputs' names. The pictures are the free photos that ship with this package (NOTICE
beside them says whose), brought to the input size, and random pixels.
"""

from importlib import resources
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from attnvgg_bundle import manifest
from attnvgg_bundle.manifest import Input, IntegrityError, Manifest
from attnvgg_bundle.preprocess import decode, fit
from attnvgg_export import parity

FILE_NAME = "golden.npz"
COUNT = 16


def pictures(spec: Input, count: int = COUNT) -> NDArray[np.uint8]:
    """uint8 [count, H, W, 3]: the photos, then random pixels, the same at every call."""
    photos = sorted(
        (
            p
            for p in resources.files("attnvgg_export").joinpath("photos").iterdir()
            if p.name.endswith(".jpg")
        ),
        key=lambda p: p.name,
    )
    fitted = [
        fit(decode(p.read_bytes()), spec.height, spec.width, spec.geometry, spec.filter).pixels
        for p in photos[:count]
    ]
    rest = (count - len(fitted), spec.height, spec.width, 3)
    noise = np.random.default_rng(0).integers(0, 256, rest, dtype=np.uint8)
    return np.concatenate([np.stack(fitted), noise])


def verify(folder: Path) -> tuple[Manifest, list[parity.Difference]]:
    """Hashes every file, then runs golden.npz through ONNX Runtime on the CPU.

    Raises:
        BundleError: the manifest or a file is not what was exported.
        ParityError: the graph answers something else.
    """
    bundle = manifest.read(folder)
    manifest.verify_files(folder, bundle)
    for name in ("model.onnx", FILE_NAME):
        if name not in bundle.files:
            raise IntegrityError(f"{folder}: the manifest lists no {name}")
    with np.load(folder / FILE_NAME, allow_pickle=False) as stored:
        golden = {name: stored[name] for name in stored.files}
    image = golden.pop("image")
    session = session_of(folder / "model.onnx")
    bundle.check_labels(session.get_modelmeta().custom_metadata_map)
    found = run(session, image)
    tolerance = parity.Tolerance(**bundle.parity["onnx"]["tolerance"])
    return bundle, parity.compare(golden, found, tolerance, "model.onnx on golden.npz")


def session_of(path: Path) -> onnxruntime.InferenceSession:
    """An ONNX Runtime session on the CPU."""
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def run(
    session: onnxruntime.InferenceSession, image: NDArray[np.uint8]
) -> dict[str, NDArray[np.float32]]:
    """The session's outputs by name."""
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"image": image}), strict=True))
