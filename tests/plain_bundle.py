"""A bundle made by hand, for tests that need no network and no torch."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper, save_model
from onnx.external_data_helper import set_external_data

from attnvgg_bundle.manifest import File, Input, Level, Manifest, Output, Sizes, sha256


def plain_bundle(
    folder: Path,
    gain: float = 1.0,
    sizes: Sizes | None = None,
    labels: Sequence[str] = ("red", "green", "blue"),
    graph: str = "model.onnx",
    parts: bool = False,
) -> Manifest:
    """A bundle NAME/VERSION whose graph was made by hand, for what needs no network and no torch.

    descriptor: the mean colour times `gain`; probabilities: its softmax; attention_conv1: how
    bright each pixel is, as a share of the picture. It takes 32 x 24 pixels, or `sizes`.
    `parts`: its weights lie beside it as external data.
    """
    folder.mkdir(parents=True)
    height, width = (None, None) if sizes else (24, 32)
    axes = {"image": [None, height, width, 3], "probabilities": [None, 3]}
    axes |= {"attention_conv1": [None, height, width], "descriptor": [None, 3]}
    constants = {
        "gain": np.full(3, gain / 255, np.float32),
        "sides": np.array([1, 2]),
        "colours": np.array([3]),
    }
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["float", "gain"], ["scaled"]),
        helper.make_node("ReduceMean", ["scaled", "sides"], ["descriptor"], keepdims=0),
        helper.make_node("Softmax", ["descriptor"], ["probabilities"]),
        helper.make_node("ReduceMean", ["float", "colours"], ["bright"], keepdims=0),
        helper.make_node("ReduceSum", ["bright", "sides"], ["sum"]),
        helper.make_node("Div", ["bright", "sum"], ["attention_conv1"]),
    ]
    image, *outputs = (
        helper.make_tensor_value_info(
            name, TensorProto.UINT8 if name == "image" else TensorProto.FLOAT, shape
        )
        for name, shape in axes.items()
    )
    weights = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    made = helper.make_graph(nodes, "plain", [image], outputs, weights)
    opsets = [helper.make_opsetid("", 20)]
    model = helper.make_model(made, opset_imports=opsets, ir_version=10)
    helper.set_model_props(model, {"labels": json.dumps(list(labels))})
    checker.check_model(model, full_check=True)
    if parts:
        set_external_data(model.graph.initializer[0], location=f"{graph}.data00")
    save_model(model, str(folder / graph))
    bundle = Manifest(
        name=folder.parent.name,
        version=folder.name,
        labels=tuple(labels),
        input=Input(24, 32, "stretch", "bicubic", sizes=sizes),
        outputs=(
            Output("probabilities", ("batch", 3)),
            Output("attention_conv1", ("batch", 24, 32)),
            Output("descriptor", ("batch", 3)),
        ),
        levels=(Level("conv1", (24, 32), (1, 1), "softmax"),),
        files={p.name: File(sha256(p), p.stat().st_size) for p in sorted(folder.iterdir())},
    )
    bundle.write(folder)
    return bundle
