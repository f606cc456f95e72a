"""The ONNX Runtime engine, and the gateway over it, without HTTP."""

import asyncio
import dataclasses
import io
import time
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from attnvgg_serving.cores import cores
from attnvgg_serving.engines.onnxruntime import OnnxRuntimeEngine
from attnvgg_serving.errors import InvalidImage, StartError, TooManyImages
from attnvgg_serving.gateway import Gateway, Model, Seen
from attnvgg_serving.registry import Bundle, scan
from attnvgg_serving.settings import Settings


@pytest.fixture
def bundle(tiny_models: Path) -> Bundle:
    return scan(tiny_models)[0]


def png(seed: int, side: int = 40) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def test_only_what_is_asked_for_is_fetched(bundle: Bundle) -> None:
    engine = OnnxRuntimeEngine(bundle, "cpu", threads=1)
    pixels = np.zeros((3, 32, 32, 3), dtype=np.uint8)
    found = engine.run(pixels, ["attention_conv10", "probabilities"])
    assert {name: values.shape for name, values in found.items()} == {
        "attention_conv10": (3, 8, 8),
        "probabilities": (3, 3),
    }
    assert engine.provider == "cpu"
    assert engine.sha256 == bundle.manifest.files["model.onnx"].sha256


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_a_provider_that_this_build_lacks_is_an_error(
    bundle: Bundle, provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(StartError, match=r"built without .* replace onnxruntime"):
        OnnxRuntimeEngine(bundle, provider)


def test_a_session_that_fell_back_to_the_cpu_is_an_error(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    plain = onnxruntime.InferenceSession
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: everything)
    monkeypatch.setattr(
        onnxruntime,
        "InferenceSession",
        lambda path, sess_options, providers: plain(path, sess_options, providers[-1:]),
    )
    with pytest.raises(StartError, match="'cuda' but the session has only CPUExecutionProvider"):
        OnnxRuntimeEngine(bundle, "cuda")


def test_a_graph_that_is_not_the_manifests_is_an_error(bundle: Bundle) -> None:
    other = dataclasses.replace(bundle.manifest.input, name="picture")
    wrong = Bundle(bundle.folder, dataclasses.replace(bundle.manifest, input=other))
    with pytest.raises(StartError, match="the manifest promises"):
        OnnxRuntimeEngine(wrong, "cpu")


def test_labels_that_are_not_the_graphs_are_an_error(bundle: Bundle) -> None:
    swapped = dataclasses.replace(bundle.manifest, labels=bundle.manifest.labels[::-1])
    with pytest.raises(StartError, match="the graph's own labels are"):
        OnnxRuntimeEngine(Bundle(bundle.folder, swapped), "cpu")


def test_a_graph_that_cannot_be_read_is_an_error(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(StartError, match="cannot be loaded") as caught:
        OnnxRuntimeEngine(Bundle(tmp_path, bundle.manifest), "cpu")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("quota", "expected"),
    [("max 100000", None), ("150000 100000", 2), ("10000 100000", 1), ("nonsense", None)],
)
def test_cores_obey_a_containers_quota(tmp_path: Path, quota: str, expected: int | None) -> None:
    (tmp_path / "cpu.max").write_text(quota, encoding="ascii")
    unlimited = cores(tmp_path / "missing")
    assert cores(tmp_path / "cpu.max") == min(unlimited, expected or unlimited)


def test_the_gateway_from_start_to_close(tiny_models: Path) -> None:
    async def story() -> None:
        gateway = Gateway(Settings(models=tiny_models, max_images=4, max_queue=4, max_batch=2))
        assert not gateway.ready
        await gateway.start()
        assert gateway.ready
        model = gateway.registry.find(None, None)
        await _isolation(gateway, model)
        with pytest.raises(TooManyImages, match="5 pictures; at most 4"):
            await gateway.predict(model, [png(1)] * 5, ["probabilities"], _later())
        await gateway.close()
        assert not gateway.ready

    asyncio.run(story())


async def _isolation(gateway: Gateway, model: Model) -> None:
    outputs = ["probabilities", "attention_fused"]
    (alone,) = await gateway.predict(model, [png(1)], outputs, _later())
    mixed = [png(2), png(1)[:500], png(1), InvalidImage("came broken")]
    _, cut, again, given = await gateway.predict(model, mixed, outputs, _later())
    assert isinstance(cut, InvalidImage)
    assert given is mixed[3]
    assert isinstance(alone, Seen)
    assert isinstance(again, Seen)
    for name in outputs:
        np.testing.assert_allclose(again.ran.outputs[name], alone.ran.outputs[name], atol=1e-6)


def _later() -> float:
    return time.monotonic() + 10
