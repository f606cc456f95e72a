"""How far a bundle's ONNX graphs are from golden.npz on another execution provider.

    python benchmarks/gpu/golden.py BUNDLE CUDAExecutionProvider

Prints the largest difference of every output, and whether it is within the format's limit; fails
where the provider is not in the session.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from attnvgg_bundle import manifest
from attnvgg_export import golden, parity
from attnvgg_export.formats import FORMATS, Tolerance, graphs

BOUNDLESS = Tolerance(absolute=np.inf, relative=0, maps=np.inf)


def main(folder: Path, provider: str) -> None:
    """Runs every ONNX graph of the bundle, on CUDA with and without TF32."""
    bundle = manifest.read(folder)
    with np.load(folder / golden.FILE_NAME, allow_pickle=False) as stored:
        expected = {name: stored[name] for name in stored.files}
    image = expected.pop("image")
    settings = [{"use_tf32": "0"}, {"use_tf32": "1"}] if "CUDA" in provider else [{}]
    for name, file in graphs(bundle).items():
        for options in settings if file.endswith(".onnx") else []:
            found = golden.run(_session(folder / file, provider, options), image)
            _report(f"{name} {options}", expected, found, FORMATS[name].limit)


def _session(path: Path, provider: str, options: dict[str, str]) -> Any:
    session = onnxruntime.InferenceSession(str(path), providers=[(provider, options)])
    if provider not in session.get_providers():
        raise SystemExit(f"the session has {session.get_providers()}, not {provider}")
    return session


def _report(what: str, expected: Any, found: Any, limit: Any) -> None:
    for each in parity.compare(expected, found, BOUNDLESS, what):
        print(f"{what} {each.output}: {each.largest:.3g}")
    try:
        parity.compare(expected, found, limit, what)
        print(f"{what}: within {limit}")
    except ValueError as error:
        print(f"{what}: NOT within its limit: {error}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
