"""The pixels that reach the engine, seen from outside: a network whose map is its input.

They must be those of training's evaluation transform, bit for bit, for every kind of picture.
"""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from struct import pack
from typing import Any

import httpx
import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, save_model
from PIL import Image

from attnvgg_bundle.manifest import Input, Level, Manifest, Output
from attnvgg_bundle.preprocess import Geometry
from golden_bundle import TOLERANCE, rehash
from support import Server, running
from traffic import ask, numbers, save

HEIGHT, WIDTH = 32, 32  # training's pictures are square
GEOMETRIES: tuple[Geometry, ...] = ("stretch", "center-crop")
Pixels = NDArray[np.uint8]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    models = tmp_path_factory.mktemp("models")
    for geometry in GEOMETRIES:
        mirror(models / geometry / "1", geometry)
    (models / "default").write_text("stretch\n")
    with running(models, tmp_path_factory.mktemp("bentoml")) as server:
        yield server


def mirror(folder: Path, geometry: Geometry) -> None:
    """A bundle whose map is the picture that it was given: [3 * H, W], red over green over blue."""
    folder.mkdir(parents=True)
    grid = (3 * HEIGHT, WIDTH)
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["float"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Reshape", ["planes", "shape"], ["attention_eye"]),
        helper.make_node("ReduceMean", ["float", "sides"], ["descriptor"], keepdims=0),
        helper.make_node("Softmax", ["descriptor"], ["probabilities"]),
    ]
    constants = {"shape": [-1, *grid], "sides": [1, 2]}
    weights = [helper.make_tensor(n, TensorProto.INT64, [len(v)], v) for n, v in constants.items()]
    outputs = {"probabilities": [None, 3], "attention_eye": [None, *grid], "descriptor": [None, 3]}
    graph = helper.make_graph(
        nodes,
        "mirror",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [None, HEIGHT, WIDTH, 3])],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in outputs.items()],
        weights,
    )
    opsets = [helper.make_opsetid("", 20)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    labels = ("red", "green", "blue")
    helper.set_model_props(model, {"labels": json.dumps(labels)})
    path = folder / "model.onnx"
    save_model(model, str(path))
    image = np.random.default_rng(0).integers(0, 256, (16, HEIGHT, WIDTH, 3), np.uint8)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found = session.run(list(outputs), {"image": image})
    np.savez(folder / "golden.npz", image=image, **dict(zip(outputs, found, strict=True)))
    manifest = Manifest(
        name=folder.parent.name,
        version=folder.name,
        labels=labels,
        input=Input(HEIGHT, WIDTH, geometry, "bicubic"),
        outputs=tuple(Output(name, ("batch", *shape[1:])) for name, shape in outputs.items()),
        levels=(Level("eye", grid, (1, 1), "softmax"),),
        files={},
        parity={"onnx": {"tolerance": TOLERANCE}},
    )
    rehash(folder, manifest)


def photo(width: int = 67, height: int = 131) -> Image.Image:
    """Smooth noise of an awkward size."""
    rough = np.random.default_rng(width).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    return Image.fromarray(rough).resize((width, height), Image.Resampling.BICUBIC)


def seen(server: Server, data: bytes, kind: str, model: str = "stretch") -> Pixels:
    """The pixels [H, W, 3] that reached the engine."""
    query = {"model": model, "return_attention": "true", "attention_format": "f32"}
    answer = ask(server, data, kind, **query)
    assert answer.status_code == 200, answer.text
    values = numbers(answer.json()["predictions"][0])["eye"]
    return values.reshape(3, HEIGHT, WIDTH).transpose(1, 2, 0).astype(np.uint8)


def rotated(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return save(photo(), "JPEG", quality=90, exif=exif)


def sixteen() -> bytes:
    """Grey of 16 bits, all of its range."""
    values = np.arange(67 * 131, dtype=np.uint32) * 65_535 // (67 * 131)
    return save(Image.fromarray(values.astype(np.uint16).reshape(131, 67)), "PNG")


def transparent(mode: str) -> bytes:
    image = photo().convert("RGBA")
    image.putalpha(photo().convert("L"))
    return save(image.convert(mode), "PNG")


def animated(format: str) -> bytes:
    more = [photo(67, 131).transpose(Image.Transpose.ROTATE_180)]
    return save(photo(), format, save_all=True, append_images=more, duration=50)


PICTURES = {
    "jpeg": (save(photo(), "JPEG", quality=80), "image/jpeg"),
    "jpeg, large": (save(photo(1023, 769), "JPEG", quality=80), "image/jpeg"),
    "jpeg, progressive": (save(photo(), "JPEG", progressive=True), "image/jpeg"),
    "jpeg, 4:4:4": (save(photo(), "JPEG", subsampling=0), "image/jpeg"),
    "jpeg, grey": (save(photo().convert("L"), "JPEG"), "image/jpeg"),
    "jpeg, cmyk": (save(photo().convert("CMYK"), "JPEG"), "image/jpeg"),
    **{f"jpeg, orientation {n}": (rotated(n), "image/jpeg") for n in range(2, 9)},
    "png": (save(photo(), "PNG"), "image/png"),
    "png, one pixel": (save(photo(1, 1), "PNG"), "image/png"),
    "png, a strip": (save(photo(3000, 1), "PNG"), "image/png"),
    "png, 1 bit": (save(photo().convert("1"), "PNG"), "image/png"),
    "png, grey": (save(photo().convert("L"), "PNG"), "image/png"),
    "png, palette": (save(photo().convert("P"), "PNG"), "image/png"),
    "png, 16 bit": (sixteen(), "image/png"),
    "png, alpha": (transparent("RGBA"), "image/png"),
    "png, grey with alpha": (transparent("LA"), "image/png"),
    "png, animated": (animated("PNG"), "image/png"),
    "webp": (save(photo(), "WEBP", quality=70), "image/webp"),
    "webp, lossless": (save(photo(), "WEBP", lossless=True), "image/webp"),
    "webp, animated": (animated("WEBP"), "image/webp"),
}


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Pixels]:
    """The pixels that training's evaluation sees, by geometry and picture."""
    from attnvgg_training import data as training
    from attnvgg_training.config import DataConfig

    root = tmp_path_factory.mktemp("data")
    for folder in ("train/a", "train/b", "test/a", "test/b"):
        (root / folder).mkdir(parents=True)
        (root / folder / "0.png").write_bytes(flat("L", 0))
    (root / "test/a/0.png").unlink()
    for number, (data, kind) in enumerate(PICTURES.values()):
        (root / f"test/a/{number:03d}.{kind.removeprefix('image/')}").write_bytes(data)
    found: dict[tuple[str, str], Pixels] = {}
    for geometry in GEOMETRIES:
        config = DataConfig(image_size=HEIGHT, geometry=geometry)
        images = training.load(root, config).test.images.numpy()
        # The last one is that of the folder b.
        names = [(geometry, name) for name in PICTURES]
        found |= dict(zip(names, images[:-1], strict=True))
    return found


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("name", PICTURES)
def test_the_engine_sees_what_evaluation_in_training_sees(
    server: Server, evaluation: dict[tuple[str, str], Pixels], name: str, geometry: str
) -> None:
    found = seen(server, *PICTURES[name], geometry)
    np.testing.assert_array_equal(found, evaluation[geometry, name])


WHITE, BLACK = (255, 255, 255), (0, 0, 0)


def flat(mode: str, colour: Any, format: str = "PNG", **options: Any) -> bytes:
    return save(Image.new(mode, (WIDTH, HEIGHT), colour), format, **options)


def first_red() -> bytes:
    more = [Image.new("RGB", (WIDTH, HEIGHT), (0, 255, 0))]
    image = Image.new("RGB", (WIDTH, HEIGHT), (255, 0, 0))
    return save(image, "PNG", save_all=True, append_images=more)


def grey16(value: int) -> bytes:
    return save(Image.fromarray(np.full((HEIGHT, WIDTH), value, np.uint16)), "PNG")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (flat("RGB", (10, 20, 30)), (10, 20, 30)),
        (flat("L", 77), (77, 77, 77)),
        (flat("1", 1), WHITE),
        (flat("RGBA", (10, 20, 30, 0)), WHITE),
        (flat("RGBA", (10, 20, 30, 255)), (10, 20, 30)),
        (flat("RGBA", (0, 0, 0, 51)), (204, 204, 204)),  # a fifth of black over white
        (flat("LA", (0, 0)), WHITE),
        (grey16(0x1234), (0x12, 0x12, 0x12)),
        (grey16(0xFFFF), WHITE),
        (first_red(), (255, 0, 0)),
        (flat("CMYK", (0, 0, 0, 0), "JPEG", quality=100), WHITE),
        (flat("CMYK", (0, 0, 0, 255), "JPEG", quality=100), BLACK),
    ],
)
def test_the_written_rule_for_every_kind_of_pixel(
    server: Server, data: bytes, expected: tuple[int, int, int]
) -> None:
    pixels = seen(server, data, "image/jpeg" if data[:2] == b"\xff\xd8" else "image/png")
    assert (pixels == expected).all()


def test_orientation_turns_the_picture_and_the_box_follows(server: Server) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    on_its_side = Image.new("RGB", (HEIGHT, 2 * WIDTH))
    on_its_side.paste(WHITE, (0, 0, HEIGHT // 2, 2 * WIDTH))
    data = save(on_its_side, "PNG", exif=exif)
    (prediction,) = ask(server, data).json()["predictions"]
    box = [0, 0, 2 * WIDTH, HEIGHT]
    assert prediction["input"] == {"width": 2 * WIDTH, "height": HEIGHT, "box": box}
    pixels = seen(server, data, "image/png", "center-crop")
    assert (pixels[: HEIGHT // 2] == 255).all()
    assert (pixels[HEIGHT // 2 :] == 0).all()


def test_a_colour_profile_is_ignored(server: Server) -> None:
    plain = seen(server, save(photo(), "PNG"), "image/png")
    profiled = save(photo(), "PNG", icc_profile=b"no profile at all" + pack(">I", 9) * 50)
    np.testing.assert_array_equal(seen(server, profiled, "image/png"), plain)


def test_raw_multipart_and_base64_carry_the_same_pixels(server: Server) -> None:
    data, kind = PICTURES["jpeg"]
    query = {"return_attention": "true", "attention_format": "f32"}
    url = f"{server.url}/v1/predict"
    answers = [
        httpx.post(url, params=query, files=[("f", ("x", data))]),
        httpx.post(url, params=query, json={"images": [base64.b64encode(data).decode()]}),
    ]
    for answer in answers:
        values = numbers(answer.json()["predictions"][0])["eye"]
        pixels = values.reshape(3, HEIGHT, WIDTH).transpose(1, 2, 0)
        np.testing.assert_array_equal(pixels, seen(server, data, kind))
