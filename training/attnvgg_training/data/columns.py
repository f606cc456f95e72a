"""Which columns of a parquet file are the pictures and the classes."""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from attnvgg_training.errors import DataError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Columns:
    """names: of the classes, where the schema gives them (the hub's ClassLabel)."""

    image: str
    label: str
    names: tuple[str, ...]


def find(files: Sequence[Path], image: str, label: str) -> Columns:
    """Finds both columns by their types; `image` and `label` name them where they are not "".

    Raises:
        DataError: a file is damaged, or no column or more than one could be meant.
    """
    schema = opened(files[0]).schema_arrow
    features = _features(schema)
    chosen = _choose(files[0], schema, features, "image", image, _is_image, "Image")
    target = _choose(files[0], schema, features, "label", label, _is_label, "ClassLabel")
    names = tuple(map(str, features.get(target, {}).get("names") or ()))
    log.info("%s: pictures in column %s, classes in column %s", files[0].name, chosen, target)
    return Columns(chosen, target, names)


def classes(files: Sequence[Path], columns: Columns) -> tuple[tuple[str, ...], list[int]]:
    """Class names and the targets of the training rows; without names, the values sorted."""
    if columns.names:
        return columns.names, targets(files, columns, columns.names)
    values = _values(files, columns.label)
    labels = tuple(str(value) for value in sorted({v for v in values if v is not None}))
    return labels, _index(values, labels, files, columns)


def targets(files: Sequence[Path], columns: Columns, labels: tuple[str, ...]) -> list[int]:
    """The class of each row; -1 where it has none.

    Raises:
        DataError: a row's class is not among `labels`.
    """
    values = _values(files, columns.label)
    if columns.names:
        return [-1 if value is None else int(value) for value in values]
    return _index(values, labels, files, columns)


def opened(path: Path) -> Any:
    """The file's pyarrow.parquet.ParquetFile."""
    try:
        return pq.ParquetFile(path)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be read as parquet: {error}") from error


def _index(
    values: list[Any], labels: tuple[str, ...], files: Sequence[Path], columns: Columns
) -> list[int]:
    place = {label: target for target, label in enumerate(labels)} | {"None": -1}
    unknown = sorted({str(value) for value in values} - set(place))
    if unknown:
        raise DataError(
            f"{files[0]}: column {columns.label} has classes that the training files lack: "
            f"{', '.join(unknown[:5])}"
        )
    return [-1 if value is None else place[str(value)] for value in values]


def _values(files: Sequence[Path], column: str) -> list[Any]:
    values: list[Any] = []
    for path in files:
        try:
            values += opened(path).read(columns=[column]).column(column).to_pylist()
        except (OSError, KeyError, pa.ArrowException) as error:
            raise DataError(f"{path}: column {column} cannot be read: {error}") from error
    return values


def _choose(
    path: Path,
    schema: Any,
    features: dict[str, Any],
    what: str,
    given: str,
    fits: Any,
    kind: str,
) -> str:
    """The column given, or the only one declared as `kind`, or the only one of a fitting type."""
    flag = f"--{what}-column"
    if given:
        if given not in schema.names:
            raise DataError(f"{flag} is {given}; {path} has {', '.join(schema.names)}")
        if not fits(schema.field(given).type):
            kinds = "bytes, or a struct with them" if what == "image" else "integers or text"
            raise DataError(
                f"{flag} is {given}, which holds {schema.field(given).type}; it must hold {kinds}"
            )
        return given
    declared = [name for name in schema.names if features.get(name, {}).get("_type") == kind]
    found = declared or [field.name for field in schema if fits(field.type)]
    if len(found) > 1 and what in found:
        found = [what]
    if len(found) == 1:
        return str(found[0])
    if not found:
        raise DataError(f"{path} has no column that could be the {what}: {schema.names}")
    raise DataError(
        f"{path} has several columns that could be the {what}: {', '.join(found)}; "
        f"name one with {flag}"
    )


def _is_image(kind: Any) -> bool:
    if pa.types.is_struct(kind):
        index = kind.get_field_index("bytes")
        return index >= 0 and _is_image(kind.field(index).type)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_label(kind: Any) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_label(kind.value_type)
    tests = (pa.types.is_integer, pa.types.is_string, pa.types.is_large_string)
    return any(test(kind) for test in tests)


def _features(schema: Any) -> dict[str, Any]:
    """What the Hugging Face hub's `datasets` writes beside the schema: column -> its feature."""
    try:
        written = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        features = written["info"]["features"]
        return {name: value for name, value in features.items() if isinstance(value, dict)}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}
