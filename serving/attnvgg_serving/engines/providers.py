"""Where a session runs: onnxruntime's providers, their options and why, and that they are there."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import onnxruntime

from attnvgg_serving.engines import libraries
from attnvgg_serving.errors import StartError

NAMES = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
# With this the session can say which node went to which provider. `session.disable_cpu_ep_fallback`
# would be too much: it refuses every graph that computes a shape, and ours do.
RECORD = "session.record_ep_graph_assignment_info"
# All the arithmetic; what else may stay on the CPU computes shapes.
_HEAVY = {"Conv", "FusedConv", "NhwcConv", "QLinearConv", "ConvInteger"}
_HEAVY |= {"MatMul", "FusedMatMul", "MatMulInteger", "QLinearMatMul", "Gemm", "FusedGemm"}


def execution(provider: str, cuda: Mapping[str, str]) -> list[tuple[str, dict[str, str]]]:
    """The providers of a session, best first, with their options; `cuda` are those of CUDA.

    The CPU stands behind a GPU because the graph computes shapes, which belong there.
    """
    listed = {"cpu": ["cpu"], "cuda": ["cuda", "cpu"], "tensorrt": ["tensorrt", "cuda", "cpu"]}
    return [(NAMES[name], dict(cuda) if name == "cuda" else {}) for name in listed[provider]]


def cuda(memory_mb: int) -> dict[str, str]:
    """Options of the CUDA provider; 0 MB is no limit."""
    limit = {"gpu_mem_limit": str(memory_mb * 2**20)} if memory_mb else {}
    return {
        # TF32 keeps 10 bits of a product: the maps would leave the tolerance of the bundle.
        "use_tf32": "0",
        # An exhaustive search times the kernels: workers would choose differently, and answer
        # differently in the last bits; and each new picture size would pay for a search.
        "cudnn_conv_algo_search": "HEURISTIC",
        # The default doubles the arena: up to twice the memory that is needed, and over the limit.
        "arena_extend_strategy": "kSameAsRequested",
        **limit,
    }


def check_before(provider: str) -> None:
    """Is it there at all? Asked before a session is made, which would go on without it.

    Raises:
        StartError: with the cause and the cure.
    """
    asked = f"ATTNVGG_PROVIDER is {provider!r} but"
    if NAMES[provider] not in onnxruntime.get_available_providers():
        raise StartError(
            f"{asked} this onnxruntime was built without {NAMES[provider]}; replace onnxruntime "
            "by onnxruntime-gpu (the extra serve-gpu) or set it to 'cpu'"
        )
    if provider == "cpu":
        return
    lacking = libraries.missing(provider)
    if lacking:
        raise StartError(
            f"{asked} {', '.join(lacking)} cannot be loaded; {libraries.cure(lacking)}; "
            "or set it to 'cpu'"
        )
    if wrong := libraries.driver():
        raise StartError(f"{asked} {wrong}; see what `nvidia-smi` says, or set it to 'cpu'")


def check_after(provider: str, session: Any) -> None:
    """Does the session really run there?

    Raises:
        StartError: the provider is not the session's, or arithmetic was left to the CPU.
    """
    if NAMES[provider] not in session.get_providers():
        raise StartError(
            f"ATTNVGG_PROVIDER is {provider!r} but the session has only "
            f"{', '.join(session.get_providers())}; onnxruntime says why above; or set it to 'cpu'"
        )
    left = heavy_on_cpu(session) if provider != "cpu" else {}
    if left:
        nodes = ", ".join(f"{count} {op}" for op, count in left.items())
        raise StartError(
            f"ATTNVGG_PROVIDER is {provider!r} but onnxruntime left {nodes} of the graph to the "
            "CPU; export the bundle again for this provider, or set it to 'cpu'"
        )


def heavy_on_cpu(session: Any) -> dict[str, int]:
    """Operator -> how many were given to the CPU; needs RECORD among the session's options."""
    parts = session.get_provider_graph_assignment_info()
    on_cpu = (part for part in parts if part.ep_name == NAMES["cpu"])
    operators = (node.op_type for part in on_cpu for node in part.get_nodes())
    return dict(Counter(operator for operator in operators if operator in _HEAVY))
