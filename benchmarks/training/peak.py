"""The machine's own speed: dense matrix products, in billions of operations a second."""

import time
from collections.abc import Callable

import torch

TYPES = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16}


def measure(device: str, quick: bool) -> dict[str, Callable[[], float]]:
    """Data type -> what measures its rate once. tf32 is what a GPU may make of float32
    convolutions: the default of PyTorch, in both loops."""
    size = 64 if quick else 2048 if device == "cpu" else 8192
    return {
        name: lambda name=name, dtype=dtype: _rate(name, dtype, device, size)  # type: ignore[misc]
        for name, dtype in TYPES.items()
        if name != "tf32" or device == "cuda"
    }


def _rate(name: str, dtype: torch.dtype, device: str, size: int, calls: int = 5) -> float:
    a = torch.rand(size, size, dtype=dtype, device=device)
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = name == "tf32"
    try:
        for _ in range(2):  # the first ones choose and warm
            torch.mm(a, a)
        _wait(device)
        start = time.perf_counter()
        for _ in range(calls):
            torch.mm(a, a)
        _wait(device)
        return calls * 2e-9 * size**3 / (time.perf_counter() - start)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
