"""ONNX Runtime in this process."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from attnvgg_bundle.manifest import IntegrityError
from attnvgg_serving.cores import share
from attnvgg_serving.engines import Engine, graphs, padding, providers
from attnvgg_serving.engines.binding import Way, plain
from attnvgg_serving.engines.lanes import Lanes
from attnvgg_serving.errors import StartError

if TYPE_CHECKING:
    from attnvgg_serving.registry import Bundle
    from attnvgg_serving.settings import Settings

logger = logging.getLogger(__name__)


def create(bundle: "Bundle", settings: "Settings") -> Engine:
    """A warm engine; a GPU's has batches of fixed sizes, each of which has run once.

    Raises:
        StartError: see OnnxRuntimeEngine; or the bundle fails on its first batch.
    """
    threads = settings.engine_threads or share(settings.workers)
    options = providers.cuda(settings.gpu_memory_mb)
    if (settings.precision, settings.provider) == ("fp16", "cpu"):
        logger.warning("fp16 is not faster than fp32 on a CPU; it is meant for GPUs")

    def made(threads: int) -> Engine:
        engine: Engine = OnnxRuntimeEngine(
            bundle, settings.provider, settings.precision, threads, options
        )
        sizes: Sequence[int] = (1, settings.max_batch)
        if settings.provider != "cpu":  # on the CPU a padded picture costs as much as a real one
            sizes = padding.sizes(settings.max_batch)
            engine = padding.Padded(engine, sizes)
        try:
            warm(engine, bundle, sizes)
        except StartError:
            engine.close()
            raise
        return engine

    if settings.provider != "cpu" or threads < Lanes.lanes:
        return made(threads)
    return Lanes(made(threads), made(threads // Lanes.lanes))


def warm(engine: Engine, bundle: "Bundle", sizes: Sequence[int]) -> None:
    """A real inference with every output at each size: what it takes is taken now.

    The largest comes first, so that the memory is asked for in one piece, and the smallest next:
    TensorRT then knows the whole range of sizes and prepares for no other.

    Raises:
        StartError: one of them fails.
    """
    input, outputs = bundle.manifest.input, [output.name for output in bundle.manifest.outputs]
    for size in dict.fromkeys((max(sizes), *sizes)):
        pixels = np.zeros((size, input.height, input.width, 3), dtype=np.uint8)
        try:
            engine.run(pixels, outputs)
        except Exception as error:  # onnxruntime has no public root for its errors
            raise StartError(
                f"{bundle.folder} fails on its first batch of {size}, where memory may be short "
                f"(then lower ATTNVGG_MAX_BATCH): {_line(error)}"
            ) from error


class OnnxRuntimeEngine:
    """One session on one bundle; it may be called by one thread at a time or by several.

    threads: of a forward pass on the CPU; 0: one a core.
    cuda: options of the CUDA provider, see providers.py.
    way: how arrays get to the session and back, see binding.py.

    Raises:
        StartError: the bundle lacks the graph, the graph is not the manifest's, or the provider
            asked for is not in the session (it never falls back to the CPU silently).
    """

    lanes = 1

    def __init__(
        self,
        bundle: "Bundle",
        provider: str,
        precision: str = "fp32",
        threads: int = 0,
        cuda: Mapping[str, str] | None = None,
        way: Way = plain,
    ) -> None:
        self.provider = provider
        self.precision = precision
        providers.check_before(provider)
        self._bundle = bundle
        self._way = way
        self._path = graphs.path(bundle, precision)
        self.sha256 = bundle.manifest.files[self._path.name].sha256
        options = session_options(threads or share(1))
        self._session = _session(self._path, options, provider, cuda or providers.cuda(0))
        self._check_graph()

    def run(
        self, pixels: NDArray[np.uint8], outputs: Sequence[str]
    ) -> dict[str, NDArray[np.float32]]:
        """Runs pixels [B, H, W, 3] and fetches only the named outputs."""
        return self._way(self._session, self._bundle.manifest.input.name, pixels, outputs)

    def close(self) -> None:
        """Lets go of the session: its memory is free when the last run has ended."""
        self._session = None

    def _check_graph(self) -> None:
        manifest = self._bundle.manifest
        promised = ([manifest.input.name], [output.name for output in manifest.outputs])
        found = (
            [node.name for node in self._session.get_inputs()],
            [node.name for node in self._session.get_outputs()],
        )
        if found != promised:
            raise StartError(
                f"{self._path} has inputs and outputs {found}; the manifest promises {promised}"
            )
        try:
            manifest.check_labels(self._session.get_modelmeta().custom_metadata_map)
        except IntegrityError as error:
            raise StartError(str(error)) from error


def _session(path: Path, options: Any, provider: str, cuda: Mapping[str, str]) -> Any:
    if provider != "cpu":
        options.add_session_config_entry(providers.RECORD, "1")
    listed = providers.execution(provider, cuda)
    try:
        # Without this a provider that fails now or later is replaced by the CPU.
        session = onnxruntime.InferenceSession(path, options, listed, enable_fallback=0)
    except Exception as error:  # onnxruntime has no public root for its errors
        raise StartError(f"{path} cannot be loaded: {_line(error)}") from error
    providers.check_after(provider, session)
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
