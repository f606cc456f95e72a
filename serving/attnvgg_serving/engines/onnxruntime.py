"""ONNX Runtime in this process."""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from attnvgg_bundle.manifest import IntegrityError
from attnvgg_serving.cores import cores
from attnvgg_serving.errors import StartError
from attnvgg_serving.registry import Bundle

logger = logging.getLogger(__name__)

GRAPH = "model.onnx"
_EXECUTION = {
    "cpu": ["CPUExecutionProvider"],
    "cuda": ["CUDAExecutionProvider", "CPUExecutionProvider"],
    "tensorrt": ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"],
}


class OnnxRuntimeEngine:
    """One session on one bundle; it may be called by one thread at a time or by several.

    Raises:
        StartError: the bundle has no graph, the graph is not the manifest's, or the provider
            asked for is not in the session (it never falls back to the CPU silently).
    """

    def __init__(self, bundle: Bundle, provider: str, threads: int = 0) -> None:
        self._bundle = bundle
        self._session = _session(bundle, provider, threads or cores())
        self.provider = provider
        self.sha256 = bundle.manifest.files[GRAPH].sha256
        self._check_graph()

    def run(
        self, pixels: NDArray[np.uint8], outputs: Sequence[str]
    ) -> dict[str, NDArray[np.float32]]:
        """Runs pixels [B, H, W, 3] and fetches only the named outputs."""
        values = self._session.run(list(outputs), {self._bundle.manifest.input.name: pixels})
        return dict(zip(outputs, values, strict=True))

    def _check_graph(self) -> None:
        manifest = self._bundle.manifest
        promised = ([manifest.input.name], [output.name for output in manifest.outputs])
        found = (
            [node.name for node in self._session.get_inputs()],
            [node.name for node in self._session.get_outputs()],
        )
        if found != promised:
            raise StartError(
                f"{self._bundle.folder / GRAPH} has inputs and outputs {found}; "
                f"the manifest promises {promised}"
            )
        try:
            manifest.check_labels(self._session.get_modelmeta().custom_metadata_map)
        except IntegrityError as error:
            raise StartError(str(error)) from error


def _session(bundle: Bundle, provider: str, threads: int) -> Any:
    wanted = _EXECUTION[provider][0]
    # Asked for one that it was built without, the CPU package only warns and goes on.
    if wanted not in onnxruntime.get_available_providers():
        raise StartError(
            f"ATTNVGG_PROVIDER is {provider!r} but this onnxruntime was built without {wanted}; "
            "replace onnxruntime by onnxruntime-gpu (the extra serve-gpu) or set it to 'cpu'"
        )
    if GRAPH not in bundle.manifest.files:
        raise StartError(f"{bundle.folder} has no {GRAPH}; it cannot be run by onnxruntime")
    path = bundle.folder / GRAPH
    try:
        session = onnxruntime.InferenceSession(
            path, sess_options=session_options(threads), providers=_EXECUTION[provider]
        )
    except Exception as error:  # onnxruntime has no public root for its errors
        raise StartError(f"{path} cannot be loaded: {_line(error)}") from error
    if wanted not in session.get_providers():
        raise StartError(
            f"ATTNVGG_PROVIDER is {provider!r} but the session has only "
            f"{', '.join(session.get_providers())}: a library or the driver is missing "
            "(onnxruntime says which above); install CUDA 13 and cuDNN 9, or set it to 'cpu'"
        )
    # A provider that fails later must be an error and not a quiet restart on the CPU.
    session.disable_fallback()
    return session


def session_options(threads: int) -> Any:
    """How every session runs here; the benchmarks measure with the same."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Between two batches the cores belong to decoding and to the event loop.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return options


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
