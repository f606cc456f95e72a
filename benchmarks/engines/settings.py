"""What is measured; shared by the command, its workers and the document. No torch here."""

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
NETWORKS = ("small", "full", "tiny")
EAGER, COMPILED, SCRIPT = "PyTorch eager", "PyTorch compiled", "TorchScript"
ORT, ORT_INT8 = "ONNX Runtime fp32", "ONNX Runtime int8"
EAGER_BF16, EAGER_FP16 = "PyTorch eager bf16", "PyTorch eager fp16"

# Whose peak an engine is held against.
DATATYPE = {
    EAGER: "fp32",
    COMPILED: "fp32",
    SCRIPT: "fp32",
    ORT: "fp32",
    ORT_INT8: "int8",
    EAGER_BF16: "bf16",
    EAGER_FP16: "fp16",
}


@dataclass(frozen=True)
class Job:
    """What one worker process measures.

    seconds: the least that a case is timed for, in each of `rounds`. peaks: measure them too.
    """

    device: str
    threads: int
    networks: tuple[str, ...]
    engines: tuple[str, ...]
    batches: tuple[int, ...]
    rounds: int
    seconds: float
    peaks: bool
    quick: bool


def engines(device: str, providers: list[str]) -> tuple[str, ...]:
    """The engines of a device; `providers` are those that ONNX Runtime was built with."""
    if device == "cpu":
        return (EAGER, COMPILED, SCRIPT, ORT, ORT_INT8)
    runtime = (ORT,) if "CUDAExecutionProvider" in providers else ()
    return (EAGER, EAGER_BF16, EAGER_FP16, COMPILED, SCRIPT, *runtime)
