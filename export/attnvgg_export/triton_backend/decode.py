"""Decodes, orients and resizes pictures, behind Triton's Python backend.

A copy of this file is the model.py of each version, beside a copy of preprocess.py, which does
the work; both need numpy and Pillow. A bad picture is an error of its own request only.
"""

import importlib.util
import json
import os
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils  # type: ignore[import-not-found]

# A decoded picture can take 100 MB, so a process never holds one for each of very many cores.
MOST_THREADS = 4


class TritonPythonModel:
    """One process that decodes, as Triton's Python backend calls it."""

    def initialize(self, args: dict[str, str]) -> None:
        """Loads preprocess.py; Pillow frees the GIL, so threads decode side by side."""
        check_numpy()
        config = json.loads(args["model_config"])
        self.settings = {key: each["string_value"] for key, each in config["parameters"].items()}
        self.encoded, self.image = config["input"][0]["name"], config["output"][0]["name"]
        self.preprocess = load(
            Path(args["model_repository"]) / args["model_version"] / "preprocess.py"
        )
        self.pool = ThreadPoolExecutor(min(MOST_THREADS, len(os.sched_getaffinity(0))))

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answers the requests in their order; all their pictures are decoded together."""
        waiting = [
            [self.pool.submit(self.pixels, data) for data in self.pictures(request)]
            for request in requests
        ]
        return [self.response(each) for each in waiting]

    def finalize(self) -> None:
        self.pool.shutdown()

    def pictures(self, request: Any) -> list[bytes]:
        """The request's pictures, [B, 1] bytes."""
        tensor = pb_utils.get_input_tensor_by_name(request, self.encoded)
        return list(tensor.as_numpy().ravel())

    def pixels(self, data: bytes) -> Any:
        """uint8 [H, W, 3] of one picture."""
        image = self.preprocess.decode(data)
        settings = self.settings
        height, width = int(settings["height"]), int(settings["width"])
        geometry, filter = settings["geometry"], settings["filter"]
        return self.preprocess.fit(image, height, width, geometry, filter).pixels

    def response(self, waiting: list[Future[Any]]) -> Any:
        """The pixels [B, H, W, 3] of one request, or the error of its first bad picture."""
        for index, each in enumerate(waiting, 1):
            if error := each.exception():
                where = f"picture {index} of {len(waiting)}: " if len(waiting) > 1 else ""
                return pb_utils.InferenceResponse([], self.refusal(error, where))
        pixels = np.stack([each.result() for each in waiting])
        return pb_utils.InferenceResponse([pb_utils.Tensor(self.image, pixels)])

    def refusal(self, error: BaseException, where: str) -> Any:
        """`CODE: message`, with preprocess's own code for a picture that cannot be used."""
        if isinstance(error, self.preprocess.PictureError):
            message = f"{error.code}: {where}{error}"
            return pb_utils.TritonError(message, pb_utils.TritonError.INVALID_ARG)
        return pb_utils.TritonError(f"internal: {where}{error!r}", pb_utils.TritonError.INTERNAL)


def load(path: Path) -> Any:
    """The module in this very file: an installed one of the same name would come first."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def check_numpy() -> None:
    """Refuses a numpy that this Triton misreads: every picture would be empty, without an error."""
    pb_utils.Tensor("probe", np.zeros(1, np.uint8))
    # Bindings built before numpy 2 look for the arrays' functions where numpy 1 had them.
    if int(np.__version__.split(".")[0]) >= 2 and "numpy.core.multiarray" in sys.modules:
        raise RuntimeError(
            f"this Triton's Python backend misreads the arrays of numpy {np.__version__}; "
            "install 'numpy<2' for the Python that it runs"
        )
