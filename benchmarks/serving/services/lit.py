"""LitServe: decode, predict and encode, with its batching."""

import base64
import io
import os
import sys
from typing import Any

import litserve
import numpy as np
from graph import Graph
from PIL import Image

MAX_BATCH = int(os.environ["BENCHMARK_MAX_BATCH"])
# Its documentation's examples have 0.01 and 0.05; the longer ones only make a lone client wait.
BATCH_TIMEOUT = 0.01

Decoded = tuple[np.ndarray, bool]


class Classifier(litserve.LitAPI):
    """Pixels or a JPEG in base64, and whether maps are wanted."""

    def setup(self, device: str) -> None:
        self.graph = Graph()

    def decode_request(self, request: dict[str, Any]) -> Decoded:
        if "pixels" in request:
            data = base64.b64decode(request["pixels"])
            pixels = np.frombuffer(data, np.uint8).reshape(self.graph.height, self.graph.width, 3)
        else:
            image = Image.open(io.BytesIO(base64.b64decode(request["jpeg"])))
            pixels = self.graph.resize([image])[0]
        return pixels, request["maps"]

    def batch(self, inputs: list[Decoded]) -> tuple[np.ndarray, list[bool]]:
        return np.stack([pixels for pixels, _ in inputs]), [maps for _, maps in inputs]

    def predict(self, batch: tuple[np.ndarray, list[bool]]) -> list[dict[str, Any]]:
        pixels, maps = batch
        if not any(maps):
            return [{"probabilities": each.tolist()} for each in self.graph.classify(pixels)]
        return [
            found if wanted else {"probabilities": found["probabilities"]}
            for found, wanted in zip(self.graph.explain(pixels), maps, strict=True)
        ]

    def unbatch(self, output: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return output

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        return output


if __name__ == "__main__":
    api = Classifier(max_batch_size=MAX_BATCH, batch_timeout=BATCH_TIMEOUT)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False)
