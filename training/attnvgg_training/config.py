"""A training run's configuration: frozen dataclasses, filled from TOML and overridden by flags.

Every field has a name of its own across the sections, so that `label_smoothing` in [train] is the
flag --label-smoothing. The text below a field is its help.
"""

import ast
import inspect
import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, get_origin, get_type_hints

from attnvgg_bundle.preprocess import FILTERS, GEOMETRIES
from attnvgg_training.errors import ConfigError
from attnvgg_training.models import ModelConfig


@dataclass(frozen=True)
class DataConfig:
    """How pictures become the network's input."""

    image_size: int = 32
    """height and width of the input"""
    geometry: Literal["stretch", "center-crop"] = "stretch"
    """how a picture of other proportions is brought to the input size"""
    filter: Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"] = "bicubic"
    """Pillow's filter for it"""
    holdout: float = 0.1
    """part of the training pictures to test on, where the folder has no test split"""
    flip: bool = True
    """mirror every picture in every other epoch"""
    shift: int = 4
    """move a picture by up to this many pixels each way, its border reflected"""

    def __post_init__(self) -> None:
        _at_least("image-size", self.image_size, 8)
        _one_of("geometry", self.geometry, GEOMETRIES)
        _one_of("filter", self.filter, tuple(FILTERS))
        _between("holdout", self.holdout, 0.01, 0.5)
        _between("shift", self.shift, 0, self.image_size // 2)


@dataclass(frozen=True)
class TrainConfig:
    """SGD with Nesterov momentum on a one-cycle schedule."""

    epochs: int = 30
    """passes over the training pictures"""
    batch_size: int = 128
    """pictures a step; an incomplete last batch is left out"""
    lr: float = 0.1
    """the highest learning rate of the cycle"""
    warmup: float = 0.2
    """part of the run in which the learning rate rises"""
    momentum: float = 0.9
    """Nesterov momentum"""
    weight_decay: float = 5e-4
    """on the weights of convolutions and linear layers only"""
    label_smoothing: float = 0.1
    """part of the target spread over all classes"""
    ema: float = 0.998
    """decay a step of the averaged weights that are tested and saved; 0 turns averaging off"""
    amp: Literal["off", "bf16"] = "off"
    """bf16 runs convolutions in bfloat16; attention and loss stay in float32"""
    channels_last: bool = True
    """memory layout of the pictures; faster for convolutions"""
    compile: bool = False
    """torch.compile the network: half a minute at the start, faster steps; needs a C++ compiler"""
    seed: int = 0
    """everything random is a function of it, the epoch and the picture"""
    keep: int = 2
    """epochs to keep on disk beside the best"""

    def __post_init__(self) -> None:
        _at_least("epochs", self.epochs, 1)
        _at_least("keep", self.keep, 1)
        _at_least("batch_size", self.batch_size, 2)  # batch norm needs two
        _between("lr", self.lr, 1e-8, 100)
        _between("weight-decay", self.weight_decay, 0, 1)
        for name in ("warmup", "momentum", "label_smoothing", "ema"):
            _between(name, getattr(self, name), 0, 0.99999)
        _one_of("amp", self.amp, ("off", "bf16"))


@dataclass(frozen=True)
class Config:
    """The three sections of a recipe."""

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    def __post_init__(self) -> None:
        if self.data.image_size % self.model.multiple:
            raise ConfigError(
                f"--image-size is {self.data.image_size}; the {len(self.model.pools)} pools of "
                f"--pools need a multiple of {self.model.multiple}"
            )

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Sections of plain values, as JSON holds them."""
        plain: dict[str, dict[str, Any]] = json.loads(json.dumps(asdict(self)))
        return plain


SECTIONS: dict[str, type] = {"model": ModelConfig, "data": DataConfig, "train": TrainConfig}


def read(path: Path, overrides: Mapping[str, str] | None = None) -> Config:
    """Reads a recipe; `overrides` maps field names to what the command line gave.

    Raises:
        ConfigError: the file cannot be read, or a setting is unknown or wrong.
    """
    try:
        sections = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"--config {path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"--config {path} is not valid TOML: {error}") from error
    return from_dict(sections, overrides or {})


def from_dict(sections: Mapping[str, Any], overrides: Mapping[str, str] | None = None) -> Config:
    """Builds a configuration from sections of plain values, such as a checkpoint's."""
    unknown = set(sections) - set(SECTIONS)
    if unknown:
        raise ConfigError(f"unknown section [{unknown.pop()}]; there are {', '.join(SECTIONS)}")
    built = {
        name: _section(kind, name, sections.get(name, {}), overrides or {})
        for name, kind in SECTIONS.items()
    }
    return replace(Config(), **built)


def flags() -> dict[str, tuple[str, str]]:
    """Field name -> (help, default as text) of every setting, in the order of the sections."""
    found: dict[str, tuple[str, str]] = {}
    for kind in SECTIONS.values():
        for f in fields(kind):
            found[f.name] = (_field_help(kind)[f.name], str(f.default))
    return found


def _section(kind: type, name: str, values: Any, overrides: Mapping[str, str]) -> Any:
    hints = get_type_hints(kind)
    if not isinstance(values, Mapping):
        raise ConfigError(f"[{name}] is {values!r}; it must be a section of settings")
    for key in values:
        if key not in hints:
            raise ConfigError(f"unknown setting {key} in [{name}]; there are {', '.join(hints)}")
    parsed = {key: _convert(key, hints[key], value) for key, value in values.items()}
    given = {
        key: _convert(key, hints[key], _literal(text, hints[key]))
        for key, text in overrides.items()
        if key in hints
    }
    return kind(**(parsed | given))


def _literal(text: str, hint: Any) -> Any:
    """A flag's text as the value TOML would give for it."""
    if hint is bool:
        return {"true": True, "false": False}.get(text.lower(), text)
    if hint is str or get_origin(hint) is Literal:
        return text
    if get_origin(hint) is tuple:
        text = f"[{text.strip('[]()')}]"
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _convert(key: str, hint: Any, value: Any) -> Any:
    """Accepts a value of the field's type, an int for a float, a list of ints for a tuple."""
    if get_origin(hint) is tuple and isinstance(value, list | tuple):
        if all(type(each) is int for each in value):
            return tuple(value)
    elif get_origin(hint) is Literal or hint is str:
        if isinstance(value, str):
            return value
    elif hint is float and type(value) in (int, float):
        return float(value)
    elif type(value) is hint:
        return value
    kind = "list of integers" if get_origin(hint) is tuple else getattr(hint, "__name__", "text")
    raise ConfigError(f"--{key.replace('_', '-')} is {value!r}; it must be a {kind}")


def _field_help(kind: type) -> dict[str, str]:
    """The text below each field, which Python itself does not keep."""
    body = ast.parse(inspect.getsource(kind)).body[0]
    texts: dict[str, str] = {}
    if isinstance(body, ast.ClassDef):
        for line, after in zip(body.body, body.body[1:], strict=False):
            is_text = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
            if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name) and is_text:
                texts[line.target.id] = str(after.value.value)  # type: ignore[attr-defined]
    return texts


def _at_least(flag: str, value: float, low: float) -> None:
    if value < low:
        raise ConfigError(f"--{flag.replace('_', '-')} is {value}; it must be {low} or more")


def _between(flag: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        flag = flag.replace("_", "-")
        raise ConfigError(f"--{flag} is {value}; it must be from {low} to {high}")


def _one_of(flag: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigError(f"--{flag} is {value!r}; it must be one of {', '.join(allowed)}")
