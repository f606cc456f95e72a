"""The JSON of /v2, and with it its schemas in /openapi.json.

Inference requests are read by hand in `oip`: building objects for megabytes of numbers would cost
more than the network. Their classes here are what the document shows.
"""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from attnvgg_serving.schemas import ONE_PIXEL, Wire

Parameters = dict[str, str | bool | int | float]
Axis = Annotated[int, Field(ge=1)]
Shape = Annotated[list[int], Field(description="-1 for any length")]


EXAMPLE: JsonDict = {
    "inputs": [{"name": "encoded", "datatype": "BYTES", "shape": [1, 1], "data": [ONE_PIXEL]}],
    "outputs": [{"name": "probabilities", "parameters": {"classification": 2}}],
}


class ServerMetadata(Wire):
    """The answer of GET /v2."""

    name: str
    version: str
    extensions: list[str]


class TensorMetadata(Wire):
    """An input or an output."""

    name: str
    datatype: Literal["UINT8", "BYTES", "FP32"]
    shape: Shape


class ModelMetadata(Wire):
    """The answer of GET /v2/models/NAME."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class TensorConfig(Wire):
    """An input or an output in Triton's words."""

    name: str
    data_type: Literal["TYPE_UINT8", "TYPE_STRING", "TYPE_FP32"]
    dims: Annotated[list[int], Field(description="without the batch; -1 for any length")]


class ModelConfig(Wire):
    """The answer of GET /v2/models/NAME/config: what is true of Triton's model configuration."""

    name: str
    platform: str
    max_batch_size: Annotated[int, Field(description="pictures in one request")]
    input: list[TensorConfig]
    output: list[TensorConfig]
    dynamic_batching: dict[str, Any]


class IndexRequest(Wire):
    """The body of POST /v2/repository/index; none is the same as an empty one."""

    ready: bool = Field(default=False, description="only what serves")


class IndexEntry(Wire):
    """One version of one model."""

    name: str
    version: str
    state: Literal["READY", "LOADING", "UNAVAILABLE"]
    reason: str


class InferInput(Wire):
    """The tensor that a model takes: `image` UINT8 or `encoded` BYTES, the files in base64."""

    name: Literal["image", "encoded"]
    datatype: Literal["UINT8", "BYTES"]
    shape: list[Axis]
    parameters: Parameters = Field(
        default={}, description="binary_data_size: the data follows the JSON"
    )
    data: list[Any] | None = Field(default=None, description="flat, or nested as the shape is")


class InferRequestedOutput(Wire):
    """An output that is wanted."""

    name: str
    parameters: Parameters = Field(
        default={}, description="binary_data, true or false; classification: so many labels"
    )


class InferRequest(Wire):
    """The JSON of an inference request."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    id: str | None = Field(default=None, description="comes back in the answer")
    parameters: Parameters = Field(
        default={},
        description="binary_data_output, true or false; timeout: microseconds to wait; "
        "the others are ignored",
    )
    inputs: Annotated[list[InferInput], Field(min_length=1, max_length=1)]
    outputs: list[InferRequestedOutput] | None = Field(default=None, description="none: all")


class InferOutput(Wire):
    """One output; BYTES are labels as VALUE:INDEX:LABEL."""

    name: str
    datatype: Literal["FP32", "BYTES"]
    shape: list[Axis]
    parameters: Parameters | None = Field(default=None, description="binary_data_size, if binary")
    data: list[float] | list[str] | None = Field(default=None, description="flat, if not binary")


class InferAnswer(Wire):
    """The JSON of an inference answer."""

    id: str | None = None
    model_name: str
    model_version: str
    outputs: list[InferOutput]
