"""The engines: each makes of a network a function from uint8 pictures to all outputs.

Every engine starts and ends in the host's memory, so on a GPU the transfers are in the figure.
"""

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from networks import Network
from numpy.typing import NDArray
from settings import COMPILED, DATATYPE, EAGER_BF16, EAGER_FP16, ORT, ORT_INT8, SCRIPT, Job

from attnvgg_bundle.compare import ValuesError
from attnvgg_export import parity, torchscript, writers
from attnvgg_export.formats import FLOAT32, FORMATS, Limit
from attnvgg_serving.engines.onnxruntime import session_options

Run = Callable[[NDArray[np.uint8]], Sequence[NDArray[np.float32]]]
FORMAT = {SCRIPT: "torchscript", ORT: "onnx", ORT_INT8: "int8"}
REDUCED = {EAGER_BF16: torch.bfloat16, EAGER_FP16: torch.float16}
LEAST_AGREEMENT = 0.8


def write(network: Network, folder: Path, engines: Sequence[str]) -> None:
    """Writes the files that these engines read, as `attnvgg-export build` does."""
    formats = {FORMAT[engine] for engine in engines if engine in FORMAT}
    if "int8" in formats:
        formats.add("onnx")  # int8 is made of it
    writers.write(network.graph, network.spec, sorted(formats), folder, {}, network.pictures)


def build(engine: str, network: Network, folder: Path, job: Job) -> Run:
    """Readies `engine`, one of settings.DATATYPE, with the files that `write` left in `folder`."""
    if engine in (ORT, ORT_INT8):
        return _in_onnxruntime(folder / FORMATS[FORMAT[engine]].file, job)
    if engine == SCRIPT:
        return _in_torch(_script(folder / FORMATS[FORMAT[engine]].file, job), job)
    # A copy: what runs may move to a GPU or change its precision.
    module = copy.deepcopy(network.graph).to(job.device)
    module.model.units.to(REDUCED.get(engine, torch.float32))
    if engine == COMPILED:
        # One program a batch size and network, which count together against a limit of 8; past it
        # only fullgraph makes an error of what would silently be eager.
        torch._dynamo.config.recompile_limit = 64
        return _in_torch(torch.compile(module, dynamic=False, fullgraph=True), job)
    return _in_torch(module, job)


def check(engine: str, network: Network, run: Run, reference: Run, batches: Sequence[int]) -> float:
    """Compares a runner with the reference at every batch size, rising to all pictures.

    Returns:
        The share of all pictures to which both give the same label.

    Raises:
        DifferenceError: outputs differ by more than their type explains, or the labels of a trained
            network do.
    """
    for batch in batches:
        pictures = network.pictures[:batch]
        expected, found = reference(pictures), run(pictures)
        limit = _limit(engine, network)
        if limit is not None:
            names = network.graph.output_names
            right, got = (dict(zip(names, each, strict=True)) for each in (expected, found))
            parity.compare(right, got, limit, f"{engine} at batch {batch}")
    share = float(np.mean(expected[0].argmax(1) == found[0].argmax(1)))
    if network.trained and share < LEAST_AGREEMENT:
        raise ValuesError(
            f"{engine} gives the label of PyTorch eager to {share:.0%} of the pictures; it must be "
            f"{LEAST_AGREEMENT:.0%} or more: the speed of a broken graph says nothing"
        )
    return share


def _limit(engine: str, network: Network) -> Limit | None:
    """How far outputs may be off; None where labels alone are compared. Random weights are no
    measure of float16, whose limit is made for trained ones."""
    if DATATYPE[engine] == "fp32":
        return FLOAT32
    return FORMATS["fp16"].limit if DATATYPE[engine] == "fp16" and network.trained else None


def _script(path: Path, job: Job) -> Any:
    if job.device == "cpu":
        return torchscript.load(path)
    return torch.jit.load(str(path), map_location=job.device)  # moves the frozen constants too


def _in_torch(module: Callable[..., Any], job: Job) -> Run:
    def run(pictures: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        with torch.inference_mode():
            outputs = module(torch.from_numpy(pictures).to(job.device))
        return [output.cpu().numpy() for output in outputs]

    return run


def _in_onnxruntime(path: Path, job: Job) -> Run:
    wanted = "CPUExecutionProvider" if job.device == "cpu" else "CUDAExecutionProvider"
    session = onnxruntime.InferenceSession(path, session_options(job.threads), providers=[wanted])
    if wanted not in session.get_providers():
        raise SystemExit(
            f"ONNX Runtime has no {wanted} here, only {', '.join(session.get_providers())}: "
            "a CUDA library is missing; onnxruntime says which above"
        )
    return lambda pictures: session.run(None, {"image": pictures})
