"""What the engine demands of a GPU, on machines without one: a fallback is never silent."""

import ctypes
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnxruntime
import pytest

from attnvgg_serving import engines
from attnvgg_serving.engines import libraries, padding, providers
from attnvgg_serving.engines.onnxruntime import OnnxRuntimeEngine, session_options
from attnvgg_serving.errors import StartError
from attnvgg_serving.registry import Bundle, scan
from attnvgg_serving.settings import Settings

CPU = ["CPUExecutionProvider"]
Session = onnxruntime.InferenceSession


@pytest.fixture
def bundle(tiny_models: Path) -> Bundle:
    return scan(tiny_models)[0]


@pytest.fixture
def gpu_build(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if onnxruntime were built for CUDA 13."""
    everything = ["TensorrtExecutionProvider", "CUDAExecutionProvider", *CPU]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: everything)
    monkeypatch.setattr(onnxruntime, "cuda_version", "13.0")
    monkeypatch.setattr(libraries, "preload", lambda: None)
    monkeypatch.setattr("sys.platform", "linux")


@pytest.fixture
def gpu_libraries(gpu_build: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if all of its libraries were there too, while every session is one of the CPU."""

    def session(path: Path, options: Any, listed: Sequence[Any], enable_fallback: int) -> Any:
        assert listed[-1] == ("CPUExecutionProvider", {})
        assert not enable_fallback
        return Session(path, options, CPU)

    monkeypatch.setattr(libraries, "missing", lambda provider: [])
    monkeypatch.setattr(libraries, "driver", lambda: "")
    monkeypatch.setattr(onnxruntime, "InferenceSession", session)


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_a_provider_that_this_build_lacks_is_an_error(
    bundle: Bundle, provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: CPU)
    with pytest.raises(StartError, match=r"built without .* replace onnxruntime"):
        OnnxRuntimeEngine(bundle, provider)


def test_libraries_that_are_missing_are_named_with_the_cure(
    bundle: Bundle, gpu_build: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = {"libcudart.so.13", "libcurand.so.10", "libcudnn.so.9", "libcublas.so.13"}
    monkeypatch.setattr(libraries, "_loads", there.__contains__)
    with pytest.raises(StartError) as caught:
        OnnxRuntimeEngine(bundle, "cuda")
    says = str(caught.value)
    assert "'cuda' but libcuda.so.1, libcublasLt.so.13 cannot be loaded" in says
    assert "install the NVIDIA driver" in says
    assert "install CUDA 13 and cuDNN 9 (`pip install 'onnxruntime-gpu[cuda,cudnn]'`" in says
    assert "TensorRT" not in says
    assert "\n" not in says


def test_tensorrt_has_libraries_of_its_own(gpu_build: None) -> None:
    own = set(libraries.names("tensorrt")) - set(libraries.names("cuda"))
    assert own == {"libnvinfer.so.10", "libnvonnxparser.so.10"}
    assert libraries.cure(own).startswith("install TensorRT 10")


def test_a_library_is_looked_for_by_loading_it() -> None:
    assert not libraries._loads("libno-such-library.so.9")
    assert ctypes.util.find_library("c") is None or libraries._loads(ctypes.util.find_library("c"))


def test_a_session_that_fell_back_to_the_cpu_is_an_error(
    bundle: Bundle, gpu_libraries: None
) -> None:
    says = "'cuda' but the session has only CPUExecutionProvider; onnxruntime says why"
    with pytest.raises(StartError, match=says):
        OnnxRuntimeEngine(bundle, "cuda")


def test_arithmetic_that_was_left_to_the_cpu_is_an_error(
    bundle: Bundle, gpu_libraries: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = ["CUDAExecutionProvider", *CPU]
    monkeypatch.setattr(Session, "get_providers", lambda self: both)
    with pytest.raises(StartError, match=r"left \d+ Conv, .*MatMul.* of the graph to the CPU"):
        OnnxRuntimeEngine(bundle, "cuda")


def test_shapes_may_be_computed_on_the_cpu(bundle: Bundle) -> None:
    nodes = [SimpleNamespace(op_type="Shape"), SimpleNamespace(op_type="Concat")]
    parts = [
        SimpleNamespace(ep_name="CPUExecutionProvider", get_nodes=lambda: nodes),
        SimpleNamespace(
            ep_name="CUDAExecutionProvider", get_nodes=lambda: [SimpleNamespace(op_type="Conv")]
        ),
    ]
    session = SimpleNamespace(
        get_provider_graph_assignment_info=lambda: parts,
        get_providers=lambda: ["CUDAExecutionProvider", *CPU],
    )
    providers.check_after("cuda", session)


def test_a_real_session_says_where_its_nodes_run(bundle: Bundle) -> None:
    options = session_options(1)
    options.add_session_config_entry(providers.RECORD, "1")
    session = onnxruntime.InferenceSession(bundle.folder / "model.onnx", options, CPU)
    assert providers.heavy_on_cpu(session)["Conv"] > 10


def test_cuda_is_exact_and_keeps_to_its_memory() -> None:
    options = providers.cuda(512)
    assert options["use_tf32"] == "0"
    assert options["gpu_mem_limit"] == str(512 * 1024 * 1024)
    assert options["arena_extend_strategy"] == "kSameAsRequested"
    assert "gpu_mem_limit" not in providers.cuda(0)
    listed = providers.execution("tensorrt", options)
    assert [name for name, _ in listed] == [providers.NAMES[n] for n in ("tensorrt", "cuda", "cpu")]
    assert dict(listed)["CUDAExecutionProvider"] == options


def test_a_gpu_gets_fixed_sizes_each_of_which_has_run(
    bundle: Bundle, gpu_libraries: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[int] = []
    given: list[Any] = []
    real = OnnxRuntimeEngine.run

    def run(self: OnnxRuntimeEngine, pixels: Any, outputs: Any) -> Any:
        ran.append(len(pixels))
        return real(self, pixels, outputs)

    def execution(provider: str, cuda: Any) -> Any:
        given.append(cuda)
        return [("CPUExecutionProvider", {})]

    monkeypatch.setattr(OnnxRuntimeEngine, "run", run)
    monkeypatch.setattr(providers, "execution", execution)
    monkeypatch.setattr(providers, "check_after", lambda provider, session: None)
    settings = Settings(provider="cuda", max_batch=6, gpu_memory_mb=100)
    engine = engines.create(bundle, settings)
    assert isinstance(engine, padding.Padded)
    assert ran == [6, 1, 2, 4]
    assert given == [providers.cuda(100)]
    assert engine.provider == "cuda"


class Driver:
    """Stands for libcuda.so.1."""

    def __init__(self, code: int, devices: int) -> None:
        self._code, self._devices = code, devices

    def cuInit(self, flags: int) -> int:
        return self._code

    def cuDeviceGetCount(self, count: Any) -> int:
        count._obj.value = self._devices
        return 0

    def cuGetErrorString(self, code: int, words: Any) -> int:
        words._obj.value = b"system not yet initialized"
        return 0


@pytest.mark.parametrize(
    ("driver", "says"),
    [
        (Driver(3, 1), "the driver says: system not yet initialized (error 3)"),
        (Driver(0, 0), "the driver sees no GPU"),
        (Driver(0, 1), ""),
    ],
)
def test_the_driver_is_asked(
    driver: Driver, says: str, gpu_build: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: driver)
    assert libraries.driver() == says


def test_a_driver_that_is_not_there_is_a_sentence(
    gpu_build: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(libraries, "DRIVER", "libno-such-driver.so.1")
    assert "libno-such-driver.so.1" in libraries.driver()


def test_a_driver_without_a_gpu_is_an_error_before_there_is_a_session(
    bundle: Bundle, gpu_libraries: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(libraries, "driver", lambda: "the driver sees no GPU")
    monkeypatch.setattr(onnxruntime, "InferenceSession", None)
    with pytest.raises(
        StartError, match="'cuda' but the driver sees no GPU; see what `nvidia-smi`"
    ):
        OnnxRuntimeEngine(bundle, "cuda")
