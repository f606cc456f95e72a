"""The wire's JSON, and with it the schemas of /openapi.json."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Probability = Annotated[float, Field(ge=0, le=1)]
# The examples of /openapi.json can be sent as they are: this is a PNG file.
ONE_PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
)


class Wire(BaseModel):
    """The base of all: what is None is left out."""

    model_config = ConfigDict(frozen=True)

    def json_bytes(self) -> bytes:
        return self.model_dump_json(exclude_none=True).encode()


class Label(Wire):
    """One of the model's labels with its probability."""

    label: str
    index: int
    probability: Probability


class Input(Wire):
    """The picture after EXIF orientation, and the part of it that the network saw."""

    width: int
    height: int
    box: tuple[float, float, float, float] = Field(description="x0, y0, x1, y1 in its pixels")


class BinaryData(Wire):
    """In a binary answer, how many bytes after the JSON are this tensor's."""

    binary_data_size: int


class AttentionMap(Wire):
    """One map as computed, [h, w], row by row, little-endian; it sums to 1 (sigmoid excepted)."""

    shape: tuple[int, int]
    datatype: Literal["FP16", "FP32", "UINT8"]
    scale: float | None = Field(default=None, description="UINT8 only: the value is data * scale")
    data: str | None = Field(default=None, description="base64; absent in a binary answer")
    parameters: BinaryData | None = Field(
        default=None, description="present in a binary answer only"
    )


class Prediction(Label):
    """What the model says about one picture, and where it looked."""

    top_k: list[Label]
    input: Input
    attention: dict[str, AttentionMap] | None = Field(
        default=None, description="by level (and `fused`), if return_attention was true"
    )


class Problem(Wire):
    """What went wrong with one picture."""

    code: str
    message: str


class FailedPrediction(Wire):
    """In the place of a picture that failed while others succeeded."""

    error: Problem


class ModelInfo(Wire):
    """The model that answered."""

    name: str
    version: str
    sha256: str = Field(description="of the graph file that ran")
    provider: str = Field(description="cpu, cuda or tensorrt")


class Timings(Wire):
    """Where the time went. With several pictures, that of the slowest."""

    decode: float
    queue: float
    inference: float
    total: float


class Answer(Wire):
    """The answer of POST /v1/predict: one prediction a picture, in their order."""

    model: ModelInfo
    request_id: str
    timings_ms: Timings
    predictions: list[Prediction | FailedPrediction]


class RequestProblem(Problem):
    """What went wrong with the whole request."""

    request_id: str


class Failure(Wire):
    """Every 4xx and 5xx outside /v2."""

    error: RequestProblem


class ProtocolFailure(Wire):
    """Every 4xx and 5xx under /v2: a string, as the Open Inference Protocol has it."""

    error: str = Field(description="CODE: message")


class ModelInput(Wire):
    """What the network takes; the gateway brings every picture to it."""

    width: int
    height: int
    geometry: str
    filter: str


class ModelLevel(Wire):
    """One attention level."""

    name: str
    grid: tuple[int, int] = Field(description="h, w of its map")
    normalisation: str


class ModelDescription(ModelInfo):
    """One entry of GET /v1/models."""

    default: bool = Field(description="answers where a request names no model and no version")
    labels: list[str]
    input: ModelInput
    levels: list[ModelLevel]
    attention: list[str] = Field(description="the maps in an answer: levels and `fused`")


class Models(Wire):
    """The answer of GET /v1/models."""

    models: list[ModelDescription]


class JsonBody(Wire):
    """The JSON body of POST /v1/predict."""

    model_config = ConfigDict(
        extra="forbid", strict=True, json_schema_extra={"examples": [{"images": [ONE_PIXEL]}]}
    )

    images: list[str] = Field(min_length=1, description="JPEG, PNG or WebP files in base64")
