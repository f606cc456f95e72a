"""A stock BentoML service: batchable APIs, arrays and pictures as its documentation types them."""

import os
from typing import Any

import bentoml
import numpy as np
from graph import Graph
from PIL import Image

MAX_BATCH = int(os.environ["BENCHMARK_MAX_BATCH"])
# The documentation's examples have 10 to 1000; what would take longer is refused with 503, so the
# shorter ones refuse most of what 64 clients ask.
MAX_LATENCY_MS = 2000

batched = bentoml.api(batchable=True, max_batch_size=MAX_BATCH, max_latency_ms=MAX_LATENCY_MS)


@bentoml.service
class Classifier:
    """Pixels are uint8 [B, H, W, 3]."""

    def __init__(self) -> None:
        self.graph = Graph()

    @batched
    def classify_pixels(self, images: np.ndarray) -> np.ndarray:
        return self.graph.classify(images.astype(np.uint8))

    @batched
    def explain_pixels(self, images: np.ndarray) -> list[dict[str, Any]]:
        return self.graph.explain(images.astype(np.uint8))

    @batched
    def classify_pictures(self, images: list[Image.Image]) -> np.ndarray:
        return self.graph.classify(self.graph.resize(images))

    @batched
    def explain_pictures(self, images: list[Image.Image]) -> list[dict[str, Any]]:
        return self.graph.explain(self.graph.resize(images))
