"""The repository that `attnvgg-export triton` writes, in the real Triton."""

import io
import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from attnvgg_bundle import manifest
from attnvgg_bundle.manifest import File, Manifest, Sizes
from attnvgg_bundle.preprocess import decode, fit
from attnvgg_export import golden
from attnvgg_export.triton_options import Options
from attnvgg_export.triton_repository import write
from plain_bundle import plain_bundle
from triton_server import Answer, Triton

pytestmark = pytest.mark.network

PHOTOS = Path(golden.__file__).with_name("photos")
SIZES = Sizes(min=16, max=64, multiple=8)
NO_BACKEND = (
    "Invalid argument: unable to find backend library for backend 'onnxruntime', "
    "try specifying runtime on the model configuration."
)


@pytest.fixture(scope="module")
def models(tiny_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """tiny: a network; plain: a graph of fixed size; free: one of many sizes, weights beside it."""
    folder = tmp_path_factory.mktemp("bundles")
    shutil.copytree(tiny_models / "tiny", folder / "tiny")
    plain_bundle(folder / "plain" / "1")
    plain_bundle(folder / "free" / "1", sizes=SIZES, parts=True)
    return folder


@pytest.fixture(scope="module")
def triton(
    triton_environment: Path, models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Triton]:
    """A server of all `models` that also looks into an empty second repository, `more`."""
    home = tmp_path_factory.mktemp("triton")
    options = Options("python", queue_delay_us=20_000, max_batch=16, decoders=1)
    write(models, home / "repository", options)
    (home / "more").mkdir()
    flags = [f"--load-model={name}-encoded" for name in ("tiny", "plain", "free")]
    flags += [f"--model-repository={home / 'more'}", "--model-control-mode=explicit"]
    server = Triton(triton_environment, home, home / "repository", *flags)
    try:
        server.wait()
        yield server
    finally:
        server.end()


@pytest.fixture(scope="module")
def stored(models: Path) -> dict[str, np.ndarray]:
    """golden.npz of tiny: `image` [16, H, W, 3] and PyTorch's answers."""
    with np.load(models / "tiny" / "1" / golden.FILE_NAME, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


@pytest.fixture(scope="module")
def tiny(models: Path) -> Manifest:
    return manifest.read(models / "tiny" / "1")


def photo(name: str = "cat") -> bytes:
    return (PHOTOS / f"{name}.jpg").read_bytes()


def seen(data: bytes, bundle: Manifest) -> np.ndarray:
    """uint8 [1, H, W, 3]: what the network sees of an encoded picture."""
    spec = bundle.input
    fitted = fit(decode(data), spec.height, spec.width, spec.geometry, spec.filter)
    return fitted.pixels[None]


def assert_equal(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    """Maps as h * w * a; and something that zeros would not pass."""
    assert list(found) == list(expected)
    for name, right in expected.items():
        scale = right[0].size if name.startswith("attention_") else 1
        assert found[name].shape == right.shape
        assert np.allclose(found[name] * scale, right * scale, atol=1e-4), name
        assert right.any()


def at_once(calls: Sequence[tuple[object, ...]], triton: Triton) -> list[Answer]:
    """Makes all requests at the same time."""
    barrier = threading.Barrier(len(calls))

    def call(arguments: tuple[object, ...]) -> Answer:
        barrier.wait()
        return triton.infer(*arguments)  # type: ignore[arg-type]

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(call, calls))


def counts(triton: Triton, model: str) -> tuple[int, int]:
    """Pictures and runs of the graph so far."""
    stats = triton.client.get(f"/v2/models/{model}/stats").json()["model_stats"][0]
    return stats["inference_count"], stats["execution_count"]


def test_the_server_runs_without_our_packages(triton_environment: Path) -> None:
    code = "import attnvgg_bundle"
    done = subprocess.run([triton_environment / "bin" / "python", "-c", code], capture_output=True)
    assert b"No module named 'attnvgg_bundle'" in done.stderr


@pytest.mark.parametrize("batch", [1, 3, 16])
def test_the_model_answers_as_pytorch_did(
    triton: Triton, stored: dict[str, np.ndarray], batch: int
) -> None:
    image, *_ = stored.values()
    answer = triton.infer("tiny", "image", image[-batch:])
    assert (answer.error, answer.version) == (None, "1")
    expected = {name: stored[name][-batch:] for name in stored if name != "image"}
    assert_equal(answer.outputs, expected)


def test_concurrent_requests_share_runs_of_the_graph(
    triton: Triton, stored: dict[str, np.ndarray]
) -> None:
    pictures, runs = counts(triton, "tiny")
    answers = at_once([("tiny", "image", stored["image"][i : i + 1]) for i in range(16)], triton)
    for index, answer in enumerate(answers):
        expected = {name: stored[name][index : index + 1] for name in stored if name != "image"}
        assert_equal(answer.outputs, expected)
    more_pictures, more_runs = counts(triton, "tiny")
    assert more_pictures - pictures == 16
    assert more_runs - runs < 16


def test_only_the_requested_outputs_come(triton: Triton, stored: dict[str, np.ndarray]) -> None:
    """Also where requests for others share the batch."""
    names = ["attention_conv10", "probabilities"]
    calls = [("tiny", "image", stored["image"][:1], [name]) for name in names]
    for name, answer in zip(names, at_once(calls, triton), strict=True):
        assert_equal(answer.outputs, {name: stored[name][:1]})
    refused = triton.infer("tiny", "image", stored["image"][:1], ["attention_conv99"])
    assert refused.status == 400


@pytest.mark.parametrize("model", ["tiny", "tiny-encoded"])
def test_the_classification_extension_gives_labels(
    triton: Triton, tiny: Manifest, stored: dict[str, np.ndarray], model: str
) -> None:
    pixels = seen(photo(), tiny)
    given = ("image", pixels) if model == "tiny" else ("encoded", [photo()])
    (best, second) = triton.infer(model, *given, ["probabilities"], classes=2).outputs[
        "probabilities"
    ][0]
    probabilities = triton.infer("tiny", "image", pixels).outputs["probabilities"][0]
    order = np.argsort(-probabilities)
    for text, index in ((best, order[0]), (second, order[1])):
        probability, place, label = text.split(":")
        assert float(probability) == pytest.approx(probabilities[index], abs=1e-5)
        assert (int(place), label) == (index, tiny.labels[index])


def test_sizes_that_the_manifest_allows_are_served_beside_others(
    triton: Triton, models: Path
) -> None:
    """Odd ones are refused alone, and different sizes in one moment never meet in a run."""
    random = np.random.default_rng(0)
    sides = [(24, 32), (16, 64), (24, 33), (64, 64), (8, 16), (72, 64), (24, 32), (40, 40)] * 2
    images = [random.integers(0, 256, (1, *each, 3), np.uint8) for each in sides]
    session = golden.session_of(models / "free" / "1" / "model.onnx")
    answers = at_once([("free", "image", image) for image in images], triton)
    for (height, width), image, answer in zip(sides, images, answers, strict=True):
        if (height, width) in ((24, 33), (8, 16), (72, 64)):
            assert answer.status == 400
            assert f"the pictures are {width} x {height} pixels; both sides must" in answer.error
            assert "from 16 to 64 and multiples of 8" in answer.error
        else:
            assert_equal(answer.outputs, golden.run(session, image))


def test_odd_pictures_are_refused_out_of_one_run(triton: Triton) -> None:
    """Of one odd size they do meet; each gets its error and the model serves on."""
    image = np.zeros((1, 20, 20, 3), np.uint8)
    answers = at_once([("free", "image", image)] * 6, triton)
    assert {answer.status for answer in answers} == {400}
    assert triton.infer("free", "image", image[:, :16, :16]).status == 200


def test_a_fixed_size_is_the_only_one(triton: Triton) -> None:
    answer = triton.infer("plain", "image", np.zeros((1, 32, 24, 3), np.uint8))
    assert answer.status == 400
    assert "[-1,24,32,3]" in answer.error
    assert triton.infer("plain", "image", np.zeros((17, 24, 32, 3), np.uint8)).status == 400


@pytest.mark.parametrize("name", ["cat", "bus"])
def test_an_encoded_picture_answers_like_its_pixels(
    triton: Triton, models: Path, tiny: Manifest, name: str
) -> None:
    answer = triton.infer("tiny-encoded", "encoded", [photo(name)])
    pixels = seen(photo(name), tiny)
    same = triton.infer("tiny", "image", pixels)
    assert answer.version == same.version == "1"
    assert set(answer.outputs) == {output.name for output in tiny.outputs}
    for key, values in same.outputs.items():
        assert np.array_equal(answer.outputs[key], values), key
    session = golden.session_of(models / "tiny" / "1" / "model.onnx")
    assert_equal(same.outputs, golden.run(session, pixels))


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_pictures_are_turned_upright(triton: Triton, orientation: int) -> None:
    pixels = np.zeros((24, 32, 3), np.uint8)
    pixels[:12, :16] = (250, 20, 90)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", exif=exif)
    data = stream.getvalue()
    bundle = manifest.read(Path(triton.log.parent, "repository", "plain", "1"))
    upright = triton.infer("plain", "image", seen(data, bundle)).outputs["attention_conv1"]
    lying = triton.infer("plain", "image", pixels[None]).outputs["attention_conv1"]
    found = triton.infer("plain-encoded", "encoded", [data]).outputs["attention_conv1"]
    assert np.array_equal(found, upright)
    assert not np.array_equal(found, lying)


def test_one_bad_picture_leaves_the_others_alone(triton: Triton) -> None:
    cut, gif = photo()[:500], b"GIF89a" + bytes(50)
    datas = [photo("cat"), cut, photo("bus"), gif, b"", photo("dogs")] * 4
    alone = {data: triton.infer("plain-encoded", "encoded", [data]) for data in datas}
    answers = at_once([("plain-encoded", "encoded", [data]) for data in datas], triton)
    codes = {cut: "invalid_image: ", gif: "unsupported_media_type: ", b"": "invalid_image: "}
    for data, answer in zip(datas, answers, strict=True):
        if data in codes:
            assert answer.status == 400
            assert codes[data] in answer.error
        else:
            assert_equal(answer.outputs, alone[data].outputs)


def test_pictures_of_one_request_share_its_fate(triton: Triton) -> None:
    datas = [photo("cat"), photo("bus"), photo("dogs")]
    together = triton.infer("plain-encoded", "encoded", datas).outputs["descriptor"]
    apart = [triton.infer("plain-encoded", "encoded", [each]).outputs for each in datas]
    assert np.allclose(together, np.concatenate([each["descriptor"] for each in apart]))
    answer = triton.infer("plain-encoded", "encoded", [datas[0], datas[1][:400], datas[2]])
    assert answer.status == 400
    assert "invalid_image: picture 2 of 3: " in answer.error


def test_a_request_that_waits_too_long_is_refused(triton: Triton, tiny: Manifest) -> None: ...


def load(triton: Triton, model: str) -> str:
    """Loads a model of the second repository; what Triton says where it does not."""
    response = triton.client.post(f"/v2/repository/models/{model}/load")
    return "" if response.status_code == 200 else response.json()["error"]


def test_the_queue_has_a_length_and_a_longest_wait(triton: Triton, tmp_path: Path) -> None:
    plain_bundle(tmp_path / "models" / "narrow" / "1")
    options = Options("python", queue_delay_us=500_000, max_queue=1)
    write(tmp_path / "models", triton.log.parent / "more", options)
    assert load(triton, "narrow") == ""
    image = np.ones((1, 24, 32, 3), np.uint8)
    found = sorted(at_once([("narrow", "image", image)] * 2, triton), key=lambda each: each.status)
    assert [each.status for each in found] == [200, 503]
    assert "Exceeds maximum queue size" in found[1].error
    late = triton.infer("narrow", "image", image, timeout=1)
    assert late.status == 503
    assert "Request timeout expired" in late.error


def test_triton_takes_the_configuration_for_its_own_backend(triton: Triton, tmp_path: Path) -> None:
    """It parses and checks it, and then has no such backend in this build."""
    plain_bundle(tmp_path / "models" / "own" / "1", sizes=SIZES)
    plain_bundle(tmp_path / "models" / "typo" / "1")
    more = triton.log.parent / "more"
    write(tmp_path / "models", more, Options(kind="cpu", instances=2, threads=1))
    path = more / "typo" / "config.pbtxt"
    path.write_text(path.read_text().replace("max_queue_size", "max_queue_sise"))
    expected = f"load failed for model 'own': version 1 is at UNAVAILABLE state: {NO_BACKEND};"
    assert load(triton, "own").strip() == expected
    assert "failed to poll from model repository" in load(triton, "typo")
    assert 'has no field named "max_queue_sise"' in triton.log.read_text(errors="replace")
    assert load(triton, "own-decode") == ""


def test_a_gpu_that_is_not_there_is_never_the_cpu(triton: Triton, tmp_path: Path) -> None:
    plain_bundle(tmp_path / "models" / "wished" / "1")
    write(tmp_path / "models", triton.log.parent / "more", Options("python", kind="gpu"))
    said = load(triton, "wished")
    assert "no GPUs are available" in said or "needs CUDAExecutionProvider" in said


def test_a_numpy_that_triton_misreads_is_refused(triton_environment: Path, tmp_path: Path) -> None:
    """Without that every answer would be zeros."""
    assert int(np.__version__.split(".")[0]) >= 2
    plain_bundle(tmp_path / "models" / "plain" / "1")
    write(tmp_path / "models", tmp_path / "repository", Options("python"))
    flags = ("--model-control-mode=explicit", "--exit-on-error=false")
    here = Path(sys.executable).parents[1]
    server = Triton(triton_environment, tmp_path, tmp_path / "repository", *flags, python=here)
    try:
        server.wait("/v2/health/live")
        for model in ("plain", "plain-decode"):
            assert f"misreads the arrays of numpy {np.__version__}" in load(server, model)
    finally:
        server.end()


def changed(source: Path, folder: Path) -> None:
    """The next version of a bundle: a graph whose answers differ."""
    import onnx

    shutil.copytree(source, folder)
    path = folder / "model.onnx"
    graph = onnx.load(str(path))
    weight = next(each for each in graph.graph.initializer if len(each.raw_data) > 1000)
    weight.raw_data = (np.frombuffer(weight.raw_data, np.float32) * 1.5).tobytes()
    onnx.save(graph, str(path))
    record = json.loads((folder / "manifest.json").read_text())
    record["version"] = folder.name
    record["files"]["model.onnx"] = vars(File(manifest.sha256(path), path.stat().st_size))
    (folder / "manifest.json").write_text(json.dumps(record))


def test_a_new_version_appears_beside_one_that_serves(
    triton_environment: Path, models: Path, tiny: Manifest, tmp_path: Path
) -> None:
    """Triton looks every second; nobody's request fails, and version 1 is not loaded again."""
    shutil.copytree(models / "tiny", tmp_path / "models" / "tiny")
    write(tmp_path / "models", tmp_path / "repository", Options("python", max_batch=8))
    flags = ("--model-control-mode=poll", "--repository-poll-secs=1")
    server = Triton(triton_environment, tmp_path, tmp_path / "repository", *flags)
    answers: dict[str, list[Answer]] = {"1": [], "newest": [], "encoded": []}
    stop = threading.Event()

    def ask() -> None:
        pixels = seen(photo(), tiny)
        while not stop.is_set():
            answers["1"].append(server.infer("tiny", "image", pixels, version="1"))
            answers["newest"].append(server.infer("tiny", "image", pixels))
            answers["encoded"].append(server.infer("tiny-encoded", "encoded", [photo()]))

    try:
        server.wait()
        with ThreadPoolExecutor(1) as pool:
            asking = pool.submit(ask)
            time.sleep(1.5)  # one look of the server with nothing new
            changed(models / "tiny" / "1", tmp_path / "models" / "tiny" / "2")
            write(tmp_path / "models", tmp_path / "repository", Options("python", max_batch=8))
            server.wait("/v2/models/tiny-encoded/versions/2/ready")
            time.sleep(0.5)
            assert server.client.get("/v2/models/tiny-encoded/versions/1/ready").status_code != 200
            stop.set()
            asking.result()
    finally:
        stop.set()
        server.end()
    assert {answer.error for each in answers.values() for answer in each} == {None}
    first, *rest = (answer.outputs["descriptor"] for answer in answers["1"])
    assert all(np.array_equal(first, each) for each in rest)
    for name in ("newest", "encoded"):
        versions = [answer.version for answer in answers[name]]
        assert set(versions) == {"1", "2"}
        assert versions == sorted(versions)
        last = answers[name][-1].outputs["descriptor"]
        assert not np.allclose(first, last, atol=1e-3)
        for answer in answers["newest"]:
            found = answer.outputs["descriptor"]
            assert np.array_equal(found, first if answer.version == "1" else last)
    starts = server.log.read_text(errors="replace").count("ModelInstanceInitialize: tiny_0_0")
    assert starts == 2
