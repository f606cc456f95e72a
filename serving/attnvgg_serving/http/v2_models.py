"""/v2's models: a bundle is two, as in Triton: NAME takes pixels and NAME-encoded files."""

from dataclasses import dataclass
from typing import Literal

from attnvgg_bundle.manifest import Manifest, Output
from attnvgg_serving.errors import ModelNotFound
from attnvgg_serving.gateway import Gateway, Model
from attnvgg_serving.http.oip_input import Takes
from attnvgg_serving.http.v2_schemas import ModelConfig, ModelMetadata, TensorConfig, TensorMetadata

SUFFIX = "-encoded"
PLATFORM = "onnxruntime_onnx"


@dataclass(frozen=True)
class Served:
    """A bundle under the name by which it was asked."""

    name: str
    encoded: bool
    model: Model

    @property
    def manifest(self) -> Manifest:
        return self.model.manifest


def find(gateway: Gateway, name: str, version: str | None) -> Served:
    """The named version or the highest. A bundle's own name comes before another's -encoded.

    Raises:
        ModelNotFound: with what there is.
    """
    try:
        return Served(name, False, gateway.registry.find(name, version))
    except ModelNotFound:
        if not name.endswith(SUFFIX) or base(name) == "":
            raise
    return Served(name, True, gateway.registry.find(base(name), version))


def base(name: str) -> str:
    """The bundle that NAME and NAME-encoded are."""
    return name.removesuffix(SUFFIX)


def takes(served: Served, max_images: int) -> Takes:
    outputs = served.manifest.output_names
    if served.encoded:
        return Takes("encoded", "BYTES", (-1, 1), outputs, max_images)
    input = served.manifest.input
    return Takes(input.name, "UINT8", (-1, *_pixels(served.manifest)), outputs, max_images)


def metadata(gateway: Gateway, served: Served) -> ModelMetadata:
    """The protocol's description of a model."""
    taken = takes(served, 0)
    return ModelMetadata(
        name=served.name,
        versions=_versions(gateway, served),
        platform=PLATFORM,
        inputs=[TensorMetadata(name=taken.name, datatype=taken.datatype, shape=list(taken.shape))],
        outputs=[
            TensorMetadata(name=output.name, datatype="FP32", shape=[-1, *_dims(served, output)])
            for output in served.manifest.outputs
        ],
    )


def config(served: Served, max_images: int) -> ModelConfig:
    """As much of Triton's model configuration as is true here."""
    taken = takes(served, max_images)
    kind: Literal["TYPE_STRING", "TYPE_UINT8"] = "TYPE_STRING" if served.encoded else "TYPE_UINT8"
    return ModelConfig(
        name=served.name,
        platform=PLATFORM,
        max_batch_size=max_images,
        input=[TensorConfig(name=taken.name, data_type=kind, dims=list(taken.shape[1:]))],
        output=[
            TensorConfig(name=output.name, data_type="TYPE_FP32", dims=_dims(served, output))
            for output in served.manifest.outputs
        ],
        dynamic_batching={},
    )


def _versions(gateway: Gateway, served: Served) -> list[str]:
    """The lowest first, as Triton lists them."""
    manifests = [model.manifest for model in gateway.registry.all()]
    return [each.version for each in reversed(manifests) if each.name == served.manifest.name]


def _pixels(manifest: Manifest) -> tuple[int, int, int]:
    input = manifest.input
    return (-1, -1, 3) if input.sizes else (input.height, input.width, 3)


def _dims(served: Served, output: Output) -> list[int]:
    """Maps grow with the picture, where a graph takes other sizes; files are always resized."""
    if (
        served.manifest.input.sizes
        and not served.encoded
        and output.name in served.manifest.attention.values()
    ):
        return [-1] * (len(output.shape) - 1)
    return [axis if isinstance(axis, int) else -1 for axis in output.shape[1:]]
