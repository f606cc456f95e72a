"""Runs a bundle's graph with ONNX Runtime, behind Triton's Python backend.

A copy of this file is the model.py of each version; it needs numpy and onnxruntime.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils  # type: ignore[import-not-found]

PROVIDERS = {
    "CPU": ["CPUExecutionProvider"],
    "GPU": ["CUDAExecutionProvider", "CPUExecutionProvider"],
}


class TritonPythonModel:
    """One instance of the model, as Triton's Python backend calls it."""

    def initialize(self, args: dict[str, str]) -> None:
        """Loads the graph beside this file; what it raises is why Triton does not load it."""
        check_numpy()
        config = json.loads(args["model_config"])
        settings = {key: each["string_value"] for key, each in config["parameters"].items()}
        self.image = config["input"][0]["name"]
        self.outputs = [each["name"] for each in config["output"]]
        self.sizes = Sizes(settings) if "size_min" in settings else None
        folder = Path(args["model_repository"]) / args["model_version"]
        threads = int(settings["intra_op_thread_count"])
        device = int(args["model_instance_device_id"])
        self.session = open_session(
            folder / "model.onnx", args["model_instance_kind"], device, threads
        )

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answers the requests in their order; a picture of a wrong size is only its own error."""
        images = [
            pb_utils.get_input_tensor_by_name(request, self.image).as_numpy()
            for request in requests
        ]
        problems = [self.sizes.problem(image.shape) if self.sizes else None for image in images]
        good = [index for index, problem in enumerate(problems) if problem is None]
        answers = self.run([requests[i] for i in good], [images[i] for i in good])
        return [next(answers) if problem is None else refusal(problem) for problem in problems]

    def run(self, requests: list[Any], images: list[Any]) -> Any:
        """One run of the graph for all requests, each [b, H, W, 3]; yields their responses."""
        if not requests:
            return
        wanted = [set(request.requested_output_names()) for request in requests]
        names = [name for name in self.outputs if any(name in each for each in wanted)]
        values = self.session.run(names, {self.image: np.concatenate(images)})
        ends = np.cumsum([len(image) for image in images])[:-1]
        parts = {name: np.split(value, ends) for name, value in zip(names, values, strict=True)}
        for index, each in enumerate(wanted):
            yield pb_utils.InferenceResponse(
                [pb_utils.Tensor(name, parts[name][index]) for name in names if name in each]
            )


class Sizes:
    """Which heights and widths the graph takes."""

    def __init__(self, settings: dict[str, str]) -> None:
        self.min, self.max = int(settings["size_min"]), int(settings["size_max"])
        self.multiple = int(settings["size_multiple"])

    def problem(self, shape: tuple[int, ...]) -> str | None:
        """What is wrong with pictures of this shape [B, H, W, 3], or None."""
        _, height, width, _ = shape
        for side in (height, width):
            if not self.min <= side <= self.max or side % self.multiple:
                return (
                    f"invalid_request: the pictures are {width} x {height} pixels; both sides must "
                    f"be from {self.min} to {self.max} and multiples of {self.multiple}"
                )
        return None


def refusal(message: str) -> Any:
    error = pb_utils.TritonError(message, pb_utils.TritonError.INVALID_ARG)
    return pb_utils.InferenceResponse([], error)


def open_session(path: Path, kind: str, device: int, threads: int) -> Any:
    """An ONNX Runtime session on the processor that the instance group names, or an error."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Between two batches the cores belong to decoding and to the server.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    providers: list[Any] = list(PROVIDERS[kind])
    if kind == "GPU":
        providers[0] = (providers[0], {"device_id": device})
    session = onnxruntime.InferenceSession(str(path), options, providers=providers)
    # ONNX Runtime only logs that a library or the driver is missing, and takes the CPU.
    found = session.get_providers()
    if PROVIDERS[kind][0] not in found:
        raise RuntimeError(
            f"KIND_{kind} needs {PROVIDERS[kind][0]} and the session has only {', '.join(found)}; "
            "install onnxruntime-gpu with its CUDA libraries, or write the repository with "
            "--kind cpu"
        )
    session.disable_fallback()
    return session


def check_numpy() -> None:
    """Refuses a numpy that this Triton misreads: every picture would be zeros, without an error."""
    pb_utils.Tensor("probe", np.zeros(1, np.uint8))
    # Bindings built before numpy 2 look for the arrays' functions where numpy 1 had them.
    if int(np.__version__.split(".")[0]) >= 2 and "numpy.core.multiarray" in sys.modules:
        raise RuntimeError(
            f"this Triton's Python backend misreads the arrays of numpy {np.__version__}; "
            "install 'numpy<2' for the Python that it runs"
        )
