"""What an operator can set, by environment variables and a file; checked once, at start.

A variable wins over the file's key. `table()` gives the one documented table.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from attnvgg_bundle.preprocess import MAX_PIXELS
from attnvgg_serving import settings_file
from attnvgg_serving.errors import StartError

PREFIX = "ATTNVGG_"
# The client's, and where the file is.
OTHER_VARIABLES = frozenset({"ATTNVGG_URL", "ATTNVGG_API_KEY", settings_file.VARIABLE})
# BentoML's own timeout answers in another shape than ours; it is set above this, as a last resort.
LONGEST_TIMEOUT_MS = 60_000

_ORIGIN = re.compile(r"https?://(\[[0-9a-f:]+\]|[a-z0-9.-]+)(:[0-9]{1,5})?")


def _origins(given: object) -> object:
    """Origins between commas as a list; a list, from a file, stays one."""
    origins = [part.strip() for part in given.split(",")] if isinstance(given, str) else given
    for origin in origins if isinstance(origins, list) else ():
        if not isinstance(origin, str) or (origin != "*" and not _ORIGIN.fullmatch(origin)):
            raise ValueError(
                f"{origin!r} is no origin; it must be like https://app.example or "
                "http://127.0.0.1:8080, lower case and without a path, or *"
            )
    return origins


Origins = Annotated[tuple[str, ...] | None, NoDecode, BeforeValidator(_origins)]


class Settings(BaseSettings):
    """The settings, one environment variable each: `max_batch` is ATTNVGG_MAX_BATCH."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore")

    models: Path = Field(
        default=Path("models"), description="folder of the bundles, NAME/VERSION/manifest.json"
    )
    default_model: str | None = Field(
        default=None,
        description="model to use where a request names none; unset: what MODELS/default says",
    )
    engine: Literal["onnxruntime", "triton"] = Field(
        default="onnxruntime",
        description="what runs a bundle: ONNX Runtime in this process, or NVIDIA Triton",
    )
    triton_url: str | None = Field(
        default=None,
        pattern=r"^([A-Za-z0-9._-]+|\[[0-9a-fA-F:]+\]):[0-9]{1,5}$",
        description="HOST:PORT of Triton's gRPC; it serves what `attnvgg-export triton` wrote",
    )
    provider: Literal["cpu", "cuda", "tensorrt"] = Field(
        default="cpu",
        description="where it runs; the process does not start if it is not available",
    )
    precision: Literal["fp32", "int8", "fp16"] = Field(
        default="fp32",
        description="which graph of a bundle runs: int8 is for CPUs, fp16 for GPUs; "
        "the process does not start if a bundle lacks it",
    )
    gpu_memory_mb: int = Field(
        default=0,
        ge=0,
        description="MiB that the tensors of one model may take on the GPU; 0: no limit",
    )
    workers: int = Field(
        default=1,
        ge=1,
        le=256,
        description="processes that serve, each with every model in its own memory",
    )
    max_batch: int = Field(default=32, ge=1, le=1024, description="pictures in one forward pass")
    max_queue: int = Field(
        default=256,
        ge=1,
        description="pictures of one model accepted and not yet answered, else 503",
    )
    max_images: int = Field(default=64, ge=1, description="pictures in one request, else 400")
    max_body_bytes: int = Field(
        default=10_000_000, ge=1, description="bytes of one request, else 413"
    )
    max_upload_bytes: int = Field(
        default=256_000_000, ge=1, description="bytes of all requests held at one time, else 503"
    )
    max_connections: int = Field(
        default=1000,
        ge=16,
        le=60_000,
        description="connections of a worker; one more closes the longest idle one, or gets 503",
    )
    max_pixels: int = Field(
        default=MAX_PIXELS, ge=1, description="pixels that a picture's header may promise, else 413"
    )
    timeout_ms: int = Field(
        default=30_000,
        ge=1,
        le=LONGEST_TIMEOUT_MS,
        description="longest time for one request, else 504; X-Timeout-Ms can only lower it",
    )
    decode_threads: int = Field(
        default=0,
        ge=0,
        le=256,
        description="threads of a worker that decode pictures; 0: one a core, at most 4",
    )
    engine_threads: int = Field(
        default=0,
        ge=0,
        le=1024,
        description="threads of forward passes on the CPU, which two passes share under load; "
        "0: the cores, divided by WORKERS",
    )

    poll_s: float = Field(
        default=0,
        ge=0,
        le=86_400,
        description="seconds between two looks at the models folder for new, changed and vanished "
        "versions; 0: never, they are loaded over /v2/repository only",
    )
    api_keys: Path | None = Field(
        default=None,
        description="file of API keys (their hashes), see operations.md; unset: no key is needed",
    )
    trust_loopback: bool = Field(
        default=True,
        description="clients on loopback, unless a proxy forwards for others, need no key",
    )
    cors_origins: Origins = Field(
        default=None,
        description="origins whose pages may call this server, comma separated, or `*`; "
        "unset: none but its own",
    )
    log_format: Literal["text", "json"] = Field(
        default="text", description="form of the log lines of requests"
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The earlier one wins: what code gives, the environment, the file."""
        values = settings_file.read(cls.model_fields)
        return init_settings, env_settings, InitSettingsSource(settings_cls, values)

    @model_validator(mode="after")
    def _check_pairs(self) -> Self:
        """A limit that another one makes unreachable is a mistake."""
        if self.max_images > self.max_queue:
            raise ValueError(
                f"ATTNVGG_MAX_IMAGES is {self.max_images} and ATTNVGG_MAX_QUEUE {self.max_queue}; "
                "a request of MAX_IMAGES pictures must fit into the queue"
            )
        if self.max_body_bytes > self.max_upload_bytes:
            raise ValueError(
                f"ATTNVGG_MAX_BODY_BYTES is {self.max_body_bytes} and ATTNVGG_MAX_UPLOAD_BYTES "
                f"{self.max_upload_bytes}; a request of MAX_BODY_BYTES must fit"
            )
        if (self.engine == "triton") != (self.triton_url is not None):
            raise ValueError(
                f"ATTNVGG_ENGINE is {self.engine!r} and ATTNVGG_TRITON_URL {self.triton_url!r}; "
                "engine triton needs the address, such as triton:8001, and no other engine takes it"
            )
        if self.engine == "triton" and (self.provider, self.precision) != ("cpu", "fp32"):
            raise ValueError(
                f"ATTNVGG_ENGINE is 'triton', ATTNVGG_PROVIDER {self.provider!r} and "
                f"ATTNVGG_PRECISION {self.precision!r}; with Triton both are chosen when its "
                "repository is written (`attnvgg-export triton --kind ... --format ...`)"
            )
        # CUDA has no kernel for 8-bit convolutions (onnxruntime issues 12229 and 24807), TensorRT
        # takes symmetric ones only, and ours have a zero point.
        if self.precision == "int8" and self.provider != "cpu":
            raise ValueError(
                f"ATTNVGG_PRECISION is 'int8' and ATTNVGG_PROVIDER {self.provider!r}; onnxruntime "
                "has no 8-bit convolutions for it and would run them on the CPU: use fp16 or fp32"
            )
        return self


def load() -> Settings:
    """The settings of this process.

    Raises:
        StartError: the first wrong one, in one line with its name and value.
    """
    try:
        return Settings()
    except ValidationError as error:
        raise StartError(_first(error)) from None


def workers() -> int:
    """How many there will be: the framework wants to know before anything was checked."""
    try:
        return load().workers
    except StartError:
        return 1  # none starts, as the check says


def unknown(environ: Mapping[str, str] = os.environ) -> list[str]:
    """ATTNVGG_ variables that nothing reads: most likely a misspelt setting."""
    known = {PREFIX + name.upper() for name in Settings.model_fields} | OTHER_VARIABLES
    return sorted(name for name in environ if name.startswith(PREFIX) and name not in known)


def origin(name: str, environ: Mapping[str, str] = os.environ) -> str:
    """Where a setting comes from: its variable, the file's path, or `default`."""
    # The environment is matched without regard to case, as pydantic does it.
    variable = next((v for v in environ if v.upper() == PREFIX + name.upper()), None)
    if variable:
        return variable
    in_file = name in settings_file.read(Settings.model_fields, environ)
    return environ[settings_file.VARIABLE] if in_file else "default"


def table() -> str:
    """The settings as a Markdown table."""
    rows = ["| variable | default | meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = "" if field.default is None else f"`{field.default}`"
        rows.append(f"| `{PREFIX}{name.upper()}` | {default} | {field.description} |")
    return "\n".join(rows)


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    if not first["loc"]:
        return first["msg"].removeprefix("Value error, ")
    name = str(first["loc"][0])
    source = origin(name)
    what = source if source.upper() == PREFIX + name.upper() else f"{name} in {source}"
    return f"{what} is {first['input']!r}: {first['msg'].removeprefix('Value error, ').lower()}"
