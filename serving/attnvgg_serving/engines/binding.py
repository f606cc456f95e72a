"""Two ways to run a session on arrays of this process; they give the same values.

The engine takes `plain` until benchmarks/gpu/engine.py has shown on a GPU that `bound` is faster.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

Outputs = dict[str, NDArray[np.float32]]
# (session, name of the input, pixels [B, H, W, 3], names of outputs) -> those outputs
Way = Callable[[Any, str, NDArray[np.uint8], Sequence[str]], Outputs]


def plain(session: Any, name: str, pixels: NDArray[np.uint8], outputs: Sequence[str]) -> Outputs:
    """onnxruntime moves the input `name` to the device and the named outputs back."""
    values = session.run(list(outputs), {name: pixels})
    return dict(zip(outputs, values, strict=True))


def bound(session: Any, name: str, pixels: NDArray[np.uint8], outputs: Sequence[str]) -> Outputs:
    """The same with input and outputs bound to memory on the device, and copied by us."""
    device = "cuda" if "CUDAExecutionProvider" in session.get_providers() else "cpu"
    binding = session.io_binding()
    value = onnxruntime.OrtValue.ortvalue_from_numpy(pixels, device)
    binding.bind_ortvalue_input(name, value)
    for output in outputs:
        binding.bind_output(output, device)
    session.run_with_iobinding(binding)
    return dict(zip(outputs, binding.copy_outputs_to_cpu(), strict=True))
