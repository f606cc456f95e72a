"""The bare session: the graph run in a loop, with no server; what a server can at most reach.

    bound.py JOB.json RESULT.json

A process of its own, with the session options of the gateway's engine.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from attnvgg_bundle.manifest import Manifest
from attnvgg_serving.engines.onnxruntime import session_options

BATCHES = (1, 32)


def session(bundle: Path) -> Any:
    """As the gateway makes it for a CPU."""
    options = session_options(len(os.sched_getaffinity(0)))
    return onnxruntime.InferenceSession(
        bundle / "model.onnx", options, providers=["CPUExecutionProvider"]
    )


def outputs(manifest: Manifest) -> list[str]:
    """The probabilities first, then the maps: those of the levels, and the fused one."""
    return ["probabilities", *manifest.attention.values()]


def measure(job: dict[str, Any]) -> list[dict[str, Any]]:
    """Pictures a second with and without maps, at each batch size."""
    graph, found = session(Path(job["bundle"])), []
    for batch in BATCHES:
        pixels = np.random.default_rng(0).integers(0, 256, (batch, *job["size"], 3), np.uint8)
        for maps in (False, True):
            names = job["outputs"] if maps else job["outputs"][:1]
            rate, cpu = _rate(graph, names, pixels, job["seconds"])
            found.append({"batch": batch, "maps": maps, "rate": rate, "cpu_ms": cpu})
    return found


def _rate(
    graph: Any, names: list[str], pixels: NDArray[np.uint8], seconds: float
) -> tuple[float, float]:
    """Pictures a second, and CPU milliseconds a picture; two calls are not timed."""
    for _ in range(2):
        graph.run(names, {"image": pixels})
    calls, start, used = 0, time.perf_counter(), time.process_time()
    while (elapsed := time.perf_counter() - start) < seconds or not calls:
        graph.run(names, {"image": pixels})
        calls += 1
    pictures = calls * len(pixels)
    return pictures / elapsed, 1000 * (time.process_time() - used) / pictures


if __name__ == "__main__":
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    Path(sys.argv[2]).write_text(json.dumps(measure(job)), encoding="utf-8")
