"""What an operator can set, by environment variables; checked once, at start.

`table()` gives the one documented table.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from attnvgg_bundle.preprocess import MAX_PIXELS
from attnvgg_serving.errors import StartError

PREFIX = "ATTNVGG_"
CLIENT_VARIABLES = frozenset({"ATTNVGG_URL", "ATTNVGG_API_KEY"})
# BentoML's own timeout answers in another shape than ours; it is set above this, as a last resort.
LONGEST_TIMEOUT_MS = 60_000


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
    engine: Literal["onnxruntime"] = Field(default="onnxruntime", description="what runs a bundle")
    provider: Literal["cpu", "cuda", "tensorrt"] = Field(
        default="cpu",
        description="where it runs; the process does not start if it is not available",
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
        description="threads that decode pictures; 0: one a core, at most 4",
    )
    engine_threads: int = Field(
        default=0,
        ge=0,
        le=1024,
        description="threads of one forward pass on the CPU; 0: one a core",
    )

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


def unknown(environ: Mapping[str, str] = os.environ) -> list[str]:
    """ATTNVGG_ variables that nothing reads: most likely a misspelt setting."""
    known = {PREFIX + name.upper() for name in Settings.model_fields} | CLIENT_VARIABLES
    return sorted(name for name in environ if name.startswith(PREFIX) and name not in known)


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
    name = PREFIX + str(first["loc"][0]).upper()
    return f"{name} is {first['input']!r}: {first['msg'].lower()}"
