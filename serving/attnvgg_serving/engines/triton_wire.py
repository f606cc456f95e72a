"""What travels between the gateway and Triton, and what Triton's refusals mean here."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException

from attnvgg_serving.engines import graphs
from attnvgg_serving.errors import DeadlineExceeded, EngineUnavailable, Overloaded, StartError

if TYPE_CHECKING:
    from attnvgg_serving.registry import Bundle

LARGEST = 2**30  # bytes of a message; a batch of pictures is more than gRPC's 4 MB
LONGEST_S = 600.0  # of one call
CHANNEL = [
    ("grpc.max_send_message_length", LARGEST),
    ("grpc.max_receive_message_length", LARGEST),
    # gRPC's own pause between attempts to connect grows to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # A container that comes back may have another address; by default a name is looked up again
    # after 30 s at the earliest.
    ("grpc.dns_min_time_between_resolutions_ms", 1000),
    # A server that vanished without a word (a pulled cable) is noticed.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 5_000),
]
# What `attnvgg-export triton --format` wrote into the configuration -> our word for the graph.
PRECISIONS = {"onnx": "fp32", "int8": "int8", "fp16": "fp16"}


@dataclass(frozen=True)
class Served:
    """What an answer says about the engine: see Engine."""

    provider: str
    precision: str
    sha256: str


def served(bundle: "Bundle", config: Any, max_batch: int) -> Served:
    """From Triton's ModelConfig.

    Raises:
        StartError: the model takes smaller batches than the gateway would send, or it was made of
            a graph that the bundle has not.
    """
    name, files = bundle.manifest.name, bundle.manifest.files
    if config.max_batch_size < max_batch:
        raise StartError(
            f"ATTNVGG_MAX_BATCH is {max_batch}, and Triton's model {name} takes "
            f"{config.max_batch_size} at most: lower one, or raise --max-batch of "
            "`attnvgg-export triton`"
        )
    given = config.parameters["format"].string_value if "format" in config.parameters else "onnx"
    precision = PRECISIONS.get(given, given)
    if (file := graphs.FILES.get(precision, "")) not in files:
        raise StartError(
            f"Triton's model {name} was made of the graph {given!r}, and {bundle.folder} has none; "
            "both must be of one export"
        )
    return Served(provider(config), precision, files[file].sha256)


def provider(config: Any) -> str:
    """`triton:<backend>:<kind>`, as configured: Triton says no more."""
    groups = config.instance_group
    kind = type(groups[0]).Kind.Name(groups[0].kind) if groups else "KIND_AUTO"
    backend = config.backend or config.platform
    return f"triton:{backend}:{kind.removeprefix('KIND_').lower()}"


def request(
    module: Any, image: str, pixels: NDArray[np.uint8], outputs: Sequence[str], seconds: float
) -> dict[str, Any]:
    """The arguments of `infer` for pixels [B, H, W, 3]; `module`: tritonclient.grpc or its aio."""
    given = module.InferInput(image, list(pixels.shape), "UINT8")
    given.set_data_from_numpy(pixels)
    return {
        "inputs": [given],
        "outputs": [module.InferRequestedOutput(name) for name in outputs],
        # Triton drops what has waited longer in its queue; then nobody waits for the answer.
        "timeout": max(1, int(min(seconds, LONGEST_S) * 1e6)),
        "client_timeout": max(1e-3, min(seconds, LONGEST_S)),
    }


def arrays(answer: Any, outputs: Sequence[str]) -> dict[str, NDArray[np.float32]]:
    """The named outputs of Triton's answer.

    Raises:
        EngineUnavailable: one is missing.
    """
    found = {name: answer.as_numpy(name) for name in outputs}
    missing = [name for name, values in found.items() if values is None]
    if missing:
        raise EngineUnavailable(f"Triton's answer lacks {', '.join(missing)}")
    return found


@contextmanager
def translated() -> Iterator[None]:
    """Triton's errors as ours; what Triton says stays in the log, as it names inner addresses.

    Raises:
        Overloaded: its queue is full.
        DeadlineExceeded: its queue or the call took too long.
        EngineUnavailable: nobody is there, or the model is not.
        RuntimeError: it failed on these pictures.
    """
    try:
        yield
    except InferenceServerException as error:
        says, status = line(error), str(error.status() or "")
        if "Exceeds maximum queue size" in says:
            raise Overloaded("the queue of the engine is full") from error
        if "DEADLINE_EXCEEDED" in status or "timeout expired" in says:
            raise DeadlineExceeded(
                "the deadline passed while the engine had the picture"
            ) from error
        if any(name in status for name in ("UNAVAILABLE", "NOT_FOUND", "CANCELLED")):
            raise EngineUnavailable("the engine does not answer") from error
        raise RuntimeError(f"Triton: {says} ({status})") from error


def line(error: InferenceServerException) -> str:
    return " ".join(str(error.message() or error).split())
