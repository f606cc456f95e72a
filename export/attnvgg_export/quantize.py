"""int8: the convolutions of an ONNX graph in 8 bits, static QDQ.

Only Conv, with the ReLU and max pool between two of them, is quantised: scores and softmax in
8 bits destroy the maps. Activations are uint8, weights int8 a channel, with 7 of their 8 bits used:
x86 processors without VNNI add two products in 16 bits, which saturates silently with all 8
(onnxruntime.ai, "Quantize ONNX models", on U8S8).
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from attnvgg_training.data import Split

OPERATORS = ["Conv", "Relu", "MaxPool"]
CALIBRATION_PICTURES = 512


def sample(split: Split) -> NDArray[np.uint8]:
    """Calibration pictures [N, H, W, 3] out of a split, the same at every call."""
    chosen = np.random.default_rng(0).permutation(len(split))[:CALIBRATION_PICTURES]
    pixels: NDArray[np.uint8] = split.pixels(torch.from_numpy(np.sort(chosen))).numpy()
    return pixels


def quantize(source: Path, pictures: NDArray[np.uint8]) -> onnx.ModelProto:
    """The graph at `source` with 8-bit convolutions.

    Args:
        source: model.onnx as exported.
        pictures: uint8 [N, H, W, 3]; the largest and smallest value of every activation over them
            become its range.
    """
    with TemporaryDirectory() as folder, _quiet():
        prepared, done = Path(folder) / "prepared.onnx", Path(folder) / "int8.onnx"
        quant_pre_process(
            str(source), str(prepared), skip_optimization=True, skip_symbolic_shape=True
        )
        quantize_static(
            str(prepared),
            str(done),
            _Pictures(pictures),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=OPERATORS,
            nodes_to_exclude=_in_attention(onnx.load(str(prepared))),
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return onnx.load(str(done))


def _in_attention(model: onnx.ModelProto) -> list[str]:
    """Names of the convolutions that project local features: nothing but scores and sums follow."""
    return [
        node.name
        for node in model.graph.node
        if node.op_type == "Conv" and node.input[1].startswith("model.attention.")
    ]


class _Pictures(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, pictures: NDArray[np.uint8]) -> None:
        self._batches = (pictures[i : i + 32] for i in range(0, len(pictures), 32))

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        batch = next(self._batches, None)
        return None if batch is None else {"image": batch}


@contextmanager
def _quiet() -> Iterator[None]:
    """onnxruntime's quantiser talks through the root logger."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)
