"""The graph of a bundle as anybody would run it: ONNX Runtime, numpy and Pillow.

The session has the options of our own engine, to the advantage of those who use it here: threads
for the cores, and none that spins between two calls.
"""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime
from PIL import Image


class Graph:
    """Pixels are uint8 [B, H, W, 3]; stretched to the network's input with a bicubic filter."""

    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = len(os.sched_getaffinity(0))
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.force_spinning_stop", "1")
        path = os.environ["BENCHMARK_GRAPH"]
        self.session = onnxruntime.InferenceSession(
            path, options, providers=["CPUExecutionProvider"]
        )
        self.height, self.width = map(int, os.environ["BENCHMARK_SIZE"].split("x"))
        names = [output.name for output in self.session.get_outputs()]
        self.wanted = ["probabilities", *(n for n in names if n.startswith("attention_"))]

    def classify(self, pixels: np.ndarray) -> np.ndarray:
        """Probabilities [B, K]."""
        return self.session.run(["probabilities"], {"image": pixels})[0]

    def explain(self, pixels: np.ndarray) -> list[dict[str, Any]]:
        """Probabilities and maps of each picture, as lists."""
        values = self.session.run(self.wanted, {"image": pixels})
        return [
            {name: value[i].tolist() for name, value in zip(self.wanted, values, strict=True)}
            for i in range(len(pixels))
        ]

    def resize(self, images: Sequence[Image.Image]) -> np.ndarray:
        size, filter = (self.width, self.height), Image.Resampling.BICUBIC
        return np.stack([np.asarray(each.convert("RGB").resize(size, filter)) for each in images])
