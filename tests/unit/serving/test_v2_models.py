"""Which bundle a name of /v2 means, and what it is said to take."""

import re
from types import SimpleNamespace
from typing import Any

import pytest

from attnvgg_bundle.manifest import Input, Level, Manifest, Output, Sizes
from attnvgg_export import triton_config
from attnvgg_export.triton_options import Options
from attnvgg_serving.errors import ModelNotFound
from attnvgg_serving.http import v2_models
from attnvgg_serving.registry import Registry


def gateway(*names: str, sizes: Sizes | None = None) -> Any:
    """As much of a gateway as looking a model up needs."""
    registry: Registry[Any] = Registry(default=names[0])
    for name in names:
        for version in ("2", "10"):
            registry.add(name, version, SimpleNamespace(manifest=manifest(name, version, sizes)))
    return SimpleNamespace(registry=registry)


def manifest(name: str, version: str, sizes: Sizes | None) -> Manifest:
    outputs = (
        Output("probabilities", ("batch", 2)),
        Output("attention_conv1", ("batch", 24, 32)),
        Output("descriptor", ("batch", 5)),
    )
    return Manifest(
        name=name,
        version=version,
        labels=("cat", "dog"),
        input=Input(24, 32, "stretch", "bicubic", sizes=sizes),
        outputs=outputs,
        levels=(Level("conv1", (24, 32), (1, 1), "softmax"),),
        files={},
    )


@pytest.mark.parametrize(
    ("name", "bundle", "encoded"),
    [("a", "a", False), ("a-encoded", "a", True), ("b-encoded", "b-encoded", False)],
)
def test_a_bundles_own_name_comes_before_anothers(name: str, bundle: str, encoded: bool) -> None:
    served = v2_models.find(gateway("a", "b", "b-encoded"), name, None)
    assert (served.name, served.manifest.name, served.encoded) == (name, bundle, encoded)
    assert served.manifest.version == "10"
    assert v2_models.find(gateway("a", "b", "b-encoded"), name, "2").manifest.version == "2"


@pytest.mark.parametrize(
    ("name", "version"), [("c", None), ("c-encoded", None), ("-encoded", None), ("a-encoded", "3")]
)
def test_what_is_not_there_is_not_found(name: str, version: str | None) -> None:
    with pytest.raises(ModelNotFound):
        v2_models.find(gateway("a"), name, version)


@pytest.mark.parametrize("sizes", [None, Sizes(16, 64, 8)])
@pytest.mark.parametrize("name", ["a", "a-encoded"])
def test_tensors_are_those_of_the_triton_repository(name: str, sizes: Sizes | None) -> None:
    """The same names, types and shapes in the same order, so that a client can move."""
    bundle, options = manifest("a", "2", sizes), Options("python")
    text = triton_config.model(bundle, options)
    if name == "a-encoded":
        text = triton_config.ensemble(bundle, options, {})
    tensor = r'name: "(\w+)" data_type: (\w+) dims: \[([-0-9, ]+)\]'
    there = gateway("a", sizes=sizes)
    config = v2_models.config(v2_models.find(there, name, None), 64)
    found = [(t.name, t.data_type, str(t.dims)[1:-1]) for t in (*config.input, *config.output)]
    assert found == re.findall(tensor, text.partition("instance_group")[0])
    assert len(found) == 4


@pytest.mark.parametrize("sizes", [None, Sizes(16, 64, 8)])
def test_shapes_are_free_where_the_bundle_takes_other_sizes(sizes: Sizes | None) -> None:
    """Files are always brought to the bundle's size."""
    there = gateway("a", sizes=sizes)
    pixels = v2_models.metadata(there, v2_models.find(there, "a", None))
    files = v2_models.metadata(there, v2_models.find(there, "a-encoded", None))
    height, width = (-1, -1) if sizes else (24, 32)
    assert pixels.inputs[0].shape == [-1, height, width, 3]
    assert [each.shape for each in pixels.outputs] == [[-1, 2], [-1, height, width], [-1, 5]]
    assert files.inputs[0].shape == [-1, 1]
    assert [each.shape for each in files.outputs] == [[-1, 2], [-1, 24, 32], [-1, 5]]
    assert pixels.versions == files.versions == ["2", "10"]
