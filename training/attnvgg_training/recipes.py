"""Recipes: TOML files and flags become a Config, with messages that name what is wrong.

Every field has a name of its own across the sections, so that `label_smoothing` in [train] is the
flag --label-smoothing. The text below a field is its help.
"""

import ast
import inspect
import json
import tomllib
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from attnvgg_training.config import Config, DataConfig, TrainConfig
from attnvgg_training.errors import ConfigError
from attnvgg_training.models import ModelConfig

KINDS = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    tuple[int, ...]: "a list of whole numbers",
    tuple[float, ...]: "a list of numbers",
}
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
            found[f.name] = (_field_help(kind)[f.name], as_flag(f.default))
    return found


def as_flag(value: Any) -> str:
    """A value as it is written behind its flag."""
    if isinstance(value, tuple):
        return ",".join(map(str, value)) or "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


def table() -> str:
    """The settings as docs/training.md has them, a Markdown table a section."""
    lines: list[str] = []
    for section, kind in SECTIONS.items():
        helps = _field_help(kind)
        lines += [f"| `[{section}]` | default | meaning |", "|---|---|---|"]
        for f in fields(kind):  # JSON writes these values as TOML does
            text = " ".join(helps[f.name].split())
            lines.append(f"| `{f.name}` | `{json.dumps(f.default)}` | {text} |")
        lines.append("")
    return "\n".join(lines)


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
        element = get_args(hint)[0]
        if all(type(each) is int or (type(each) is element) for each in value):
            return tuple(map(element, value))
    elif get_origin(hint) is Literal or hint is str:
        if isinstance(value, str):
            return value
    elif hint is float and type(value) in (int, float):
        return float(value)
    elif type(value) is hint:
        return value
    kind = KINDS.get(hint, "a text")
    raise ConfigError(f"--{key.replace('_', '-')} is {value!r}; it must be {kind}")


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
