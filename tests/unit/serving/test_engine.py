"""The ONNX Runtime engine, and the gateway over it, without HTTP."""

import asyncio
import dataclasses
import io
import time
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from attnvgg_serving import engines
from attnvgg_serving.cores import cores, quota, share
from attnvgg_serving.engines.binding import bound, plain
from attnvgg_serving.engines.onnxruntime import OnnxRuntimeEngine
from attnvgg_serving.errors import InvalidImage, StartError, TooManyImages
from attnvgg_serving.gateway import Gateway, Model, Seen
from attnvgg_serving.registry import Bundle, scan
from attnvgg_serving.settings import Settings
from support import RELEASED, ROOT


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


def test_the_precision_chooses_the_graph() -> None:
    (released,) = [b for b in scan(ROOT / "models") if b.folder == RELEASED]
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    found = {}
    for precision, file in (("fp32", "model.onnx"), ("int8", "model.int8.onnx")):
        engine = OnnxRuntimeEngine(released, "cpu", precision)
        assert (engine.precision, engine.sha256) == (
            precision,
            released.manifest.files[file].sha256,
        )
        found[precision] = engine.run(pixels, ["descriptor"])["descriptor"]
    assert not np.array_equal(found["fp32"], found["int8"])


def test_a_bundle_without_the_precision_says_what_it_has_and_how_to_make_it(bundle: Bundle) -> None:
    has = rf"'fp16' but {bundle.folder} has no model.fp16.onnx \(it has: fp32\)"
    says = has + "; .*--formats onnx,fp16` writes it"
    with pytest.raises(StartError, match=says):
        OnnxRuntimeEngine(bundle, "cpu", "fp16")


def test_an_engine_is_warm_at_both_ends_of_the_batch_sizes(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = record_runs(monkeypatch)
    engine = engines.create(bundle, Settings(max_batch=6, engine_threads=1))
    assert ran == [6, 1]
    assert isinstance(engine, OnnxRuntimeEngine)


def test_an_engine_that_fails_on_its_first_batch_is_closed(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[object] = []
    monkeypatch.setattr(OnnxRuntimeEngine, "run", lambda *_: [][0])
    monkeypatch.setattr(OnnxRuntimeEngine, "close", lambda self: closed.append(self))
    with pytest.raises(StartError, match=r"fails on its first batch of 32, .*: list index out of"):
        engines.create(bundle, Settings())
    assert len(closed) == 1


def test_a_closed_engine_lets_go_of_its_session(bundle: Bundle) -> None:
    engine = OnnxRuntimeEngine(bundle, "cpu", threads=1)
    session = weakref.ref(engine._session)
    engine.close()
    assert session() is None


def test_binding_gives_the_same_values(bundle: Bundle) -> None:
    names = [output.name for output in bundle.manifest.outputs]
    pixels = np.random.default_rng(1).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    found, expected = (
        OnnxRuntimeEngine(bundle, "cpu", threads=1, way=way).run(pixels, names)
        for way in (bound, plain)
    )
    assert list(found) == names
    for name in names:
        np.testing.assert_array_equal(found[name], expected[name])


def test_other_picture_sizes_run(bundle: Bundle) -> None:
    engine = OnnxRuntimeEngine(bundle, "cpu", threads=1)
    pixels = np.zeros((2, 48, 64, 3), dtype=np.uint8)
    assert engine.run(pixels, ["attention_conv10"])["attention_conv10"].shape == (2, 12, 16)


def record_runs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The batch sizes that sessions get from now on."""
    sizes: list[int] = []
    real = OnnxRuntimeEngine.run

    def run(self: OnnxRuntimeEngine, pixels: Any, outputs: Any) -> Any:
        sizes.append(len(pixels))
        return real(self, pixels, outputs)

    monkeypatch.setattr(OnnxRuntimeEngine, "run", run)
    return sizes


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
    ("limit", "period", "expected"),
    [
        ("max", "100000", None),
        ("-1", "100000", None),
        ("150000", "100000", 2),
        ("10000", "100000", 1),
        ("nonsense", "", None),
    ],
)
def test_cores_obey_a_containers_quota(
    tmp_path: Path, limit: str, period: str, expected: int | None
) -> None:
    v2, v1, none = tmp_path / "v2", tmp_path / "v1", tmp_path / "none"
    (v1 / "cpu").mkdir(parents=True)
    v2.mkdir()
    (v2 / "cpu.max").write_text(f"{limit} {period}\n", encoding="ascii")
    (v1 / "cpu" / "cpu.cfs_quota_us").write_text(f"{limit}\n", encoding="ascii")
    (v1 / "cpu" / "cpu.cfs_period_us").write_text(f"{period}\n", encoding="ascii")
    for cgroup in (v2, v1):
        assert quota(cgroup) == expected
        assert cores(cgroup) == min(cores(none), expected or cores(none))
    assert quota(none) is None


def test_workers_share_the_cores(tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text("max 100000", encoding="ascii")
    assert share(1, tmp_path) == cores(tmp_path)
    assert share(cores(tmp_path), tmp_path) == 1
    assert share(1000, tmp_path) == 1


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
