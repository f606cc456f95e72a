"""The libraries of NVIDIA that onnxruntime's GPU providers load: which are missing, and the cure.

onnxruntime itself only logs what it could not load and goes on without the provider.
"""

import contextlib
import ctypes
import io
import sys
from collections.abc import Iterable
from functools import cache

import onnxruntime

DRIVER = "libcuda.so.1"
_TENSORRT = ["libnvinfer.so.10", "libnvonnxparser.so.10"]


def names(provider: str) -> list[str]:
    """What the provider needs of this build of onnxruntime; the driver's library is the first."""
    version = getattr(onnxruntime, "cuda_version", None)
    if not version or sys.platform != "linux":
        return []
    cuda = version.split(".")[0]
    found = [DRIVER, *(f"lib{name}.so.{cuda}" for name in ("cudart", "cublas", "cublasLt"))]
    found += ["libcurand.so.10", "libcudnn.so.9"]
    return found + _TENSORRT if provider == "tensorrt" else found


def missing(provider: str) -> list[str]:
    """Of those names the ones that cannot be loaded, after a look into pip's nvidia packages."""
    preload()
    return [name for name in names(provider) if not _loads(name)]


def cure(lacking: Iterable[str]) -> str:
    """What to install so that these can be loaded."""
    lacking = set(lacking)
    steps = []
    if DRIVER in lacking:
        steps.append("install the NVIDIA driver (in a container: start it with --gpus all)")
    if lacking & set(_TENSORRT):
        steps.append("install TensorRT 10 and put its folder into LD_LIBRARY_PATH")
    if lacking - {DRIVER, *_TENSORRT}:
        cuda = onnxruntime.cuda_version.split(".")[0]
        steps.append(
            f"install CUDA {cuda} and cuDNN 9 (`pip install 'onnxruntime-gpu[cuda,cudnn]'`, "
            "or put their folder into LD_LIBRARY_PATH)"
        )
    return " and ".join(steps)


def driver() -> str:
    """What is wrong with the driver or the device, in its own words; empty if nothing is.

    Where `names` knows no libraries (another system, another build) nobody is asked.
    """
    if not names("cuda"):
        return ""
    try:
        cuda = ctypes.CDLL(DRIVER)
    except OSError as error:
        return str(error)
    count, words = ctypes.c_int(), ctypes.c_char_p()
    code = cuda.cuInit(0) or cuda.cuDeviceGetCount(ctypes.byref(count))
    if code:
        cuda.cuGetErrorString(code, ctypes.byref(words))
        return f"the driver says: {(words.value or b'?').decode()} (error {code})"
    return "" if count.value else "the driver sees no GPU"


@cache
def preload() -> None:
    """Loads what pip's nvidia-* packages hold, which no loader's path knows. It prints; quietly."""
    with contextlib.suppress(Exception), contextlib.redirect_stdout(io.StringIO()):
        onnxruntime.preload_dlls()


def _loads(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True
