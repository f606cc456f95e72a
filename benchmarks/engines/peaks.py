"""The machine's own speed: dense matrix products and convolutions with nothing around them.

The convolutions are those of the full network's widest layers. Rates count the arithmetic of the
definition, so an algorithm of the Winograd kind may exceed what the machine multiplies.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from settings import Job
from torch.nn import functional as F

from attnvgg_export.onnx_graph import OPSET
from attnvgg_serving.engines.onnxruntime import session_options

DEPTH = 4  # convolutions in a row, so that bringing in and fetching a tensor weighs little


class Kernel(NamedTuple):
    """One call of `call` does `gflop` billions of operations, a multiplication and an addition
    being two."""

    name: str
    datatype: str
    gflop: float
    call: Callable[[], object]


class Layer(NamedTuple):
    """A 3x3 convolution that keeps its channels, on a grid of side x side."""

    channels: int
    side: int
    batch: int

    def __str__(self) -> str:
        return f"3x3, {self.channels} channels, {self.side}x{self.side}, batch {self.batch}"

    @property
    def gflop(self) -> float:
        """Billions of operations."""
        return 2e-9 * 9 * self.channels**2 * self.side**2 * self.batch


def kernels(job: Job) -> list[Kernel]:
    """Everything that may be the peak of a data type."""
    if job.device == "cuda":
        return list(_cuda(1024 if job.quick else 8192))
    layers = [Layer(8, 4, 1)] if job.quick else [Layer(256, 32, 8), Layer(512, 8, 32)]
    found = list(_products(64 if job.quick else 2048))
    for layer in layers:
        found += [_torch(layer), _onnxruntime(layer, job), _int8(layer, job)]
    return found


def _products(size: int) -> Iterator[Kernel]:
    a = torch.rand(size, size)
    b, gflop = a.numpy(), 2e-9 * size**3
    yield Kernel(f"torch.mm, {size}", "fp32", gflop, lambda: torch.mm(a, a))
    yield Kernel(f"numpy matmul, {size}", "fp32", gflop, lambda: b @ b)


def _torch(layer: Layer) -> Kernel:
    last = torch.channels_last  # the layout that oneDNN need not convert first
    x = torch.rand(layer.batch, layer.channels, layer.side, layer.side).to(memory_format=last)
    w = torch.rand(layer.channels, layer.channels, 3, 3).to(memory_format=last)

    def call() -> None:
        with torch.inference_mode():
            F.conv2d(x, w, padding=1)

    return Kernel(f"PyTorch convolution, {layer}", "fp32", layer.gflop, call)


def _onnxruntime(layer: Layer, job: Job) -> Kernel:
    call = _session(_chain(layer, quantized=False), layer, np.dtype(np.float32), job)
    name = f"ONNX Runtime convolution, {layer}"
    return Kernel(name, "fp32", DEPTH * layer.gflop, call)


def _int8(layer: Layer, job: Job) -> Kernel:
    call = _session(_chain(layer, quantized=True), layer, np.dtype(np.uint8), job)
    name = f"ONNX Runtime convolution, {layer}"
    return Kernel(name, "int8", DEPTH * layer.gflop, call)


def _session(
    model: onnx.ModelProto, layer: Layer, dtype: np.dtype, job: Job
) -> Callable[[], object]:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), session_options(job.threads), ["CPUExecutionProvider"]
    )
    shape = (layer.batch, layer.channels, layer.side, layer.side)
    x = np.random.default_rng(0).integers(0, 2, shape).astype(dtype)
    return lambda: session.run(None, {"x0": x})


def _chain(layer: Layer, quantized: bool) -> onnx.ModelProto:
    """DEPTH convolutions x0 -> x1 -> ...; quantized as U8S8 per channel: uint8 in, uint8 out."""
    nodes: list[onnx.NodeProto] = []
    for i in range(DEPTH):
        x, w, y = f"x{i}", "w", f"x{i + 1}"
        if not quantized:
            nodes.append(helper.make_node("Conv", [x, w], [y], pads=[1] * 4))
            continue
        nodes += [
            helper.make_node("DequantizeLinear", [x, "scale", "zero"], [f"{x}f"]),
            helper.make_node("DequantizeLinear", [w, "scales", "zeros"], [f"{w}f{i}"], axis=0),
            helper.make_node("Conv", [f"{x}f", f"{w}f{i}"], [f"c{i}"], pads=[1] * 4),
            helper.make_node("QuantizeLinear", [f"c{i}", "scale", "zero"], [y]),
        ]
    kind = TensorProto.UINT8 if quantized else TensorProto.FLOAT
    shape = [layer.batch, layer.channels, layer.side, layer.side]
    ends = [helper.make_tensor_value_info(n, kind, shape) for n in ("x0", f"x{DEPTH}")]
    graph = helper.make_graph(nodes, "chain", ends[:1], ends[1:], _weights(layer, quantized))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)


def _weights(layer: Layer, quantized: bool) -> list[onnx.TensorProto]:
    shape = (layer.channels, layer.channels, 3, 3)
    rng = np.random.default_rng(0)
    if not quantized:
        # Scaled so that values neither grow nor fade to denormals along the chain.
        w = rng.standard_normal(shape, np.float32) / np.float32(np.prod(shape[1:]) ** 0.5)
        return [numpy_helper.from_array(w, "w")]
    values = {
        "w": rng.integers(-127, 128, shape).astype(np.int8),
        "scales": np.full(layer.channels, 0.01, np.float32),
        "zeros": np.zeros(layer.channels, np.int8),
        "scale": np.float32(0.05),
        "zero": np.uint8(128),
    }
    return [numpy_helper.from_array(np.asarray(v), k) for k, v in values.items()]


def _cuda(size: int) -> Iterator[Kernel]:
    types = {"fp32": torch.float32, "tf32": torch.float32}
    types |= {"bf16": torch.bfloat16, "fp16": torch.float16}
    for name, dtype in types.items():
        a = torch.rand(size, size, device="cuda", dtype=dtype)

        def call(a: torch.Tensor = a, tf32: bool = name == "tf32") -> None:
            torch.backends.cuda.matmul.allow_tf32 = tf32
            torch.mm(a, a)
            torch.cuda.synchronize()
            torch.backends.cuda.matmul.allow_tf32 = False

        yield Kernel(f"torch.mm, {size}", name, 2e-9 * size**3, call)
