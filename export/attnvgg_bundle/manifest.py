"""The bundle's manifest: what a server must know to run a bundle, and how to trust it.

A bundle is a folder NAME/VERSION/. It is complete if and only if manifest.json is there and the
sha256 of every file that it lists agrees; manifest.json is written last.

Errors:

    BundleError (ValueError)
    ├── ManifestError   manifest.json is missing, unreadable, or of a newer schema
    └── IntegrityError  a listed file is missing or is not the one that was exported

attnvgg_bundle.compare adds those of outputs that are not the expected ones.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

Geometry = Literal["stretch", "center-crop"]
Filter = Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]
Normalisation = Literal["softmax", "sparsemax", "sigmoid", "one-hot"]

logger = logging.getLogger(__name__)

SCHEMA_VERSION = 1
FILE_NAME = "manifest.json"
FUSED = "attention_fused"

T = TypeVar("T")


class BundleError(ValueError):
    """The root of this package's errors."""


class ManifestError(BundleError):
    """manifest.json is missing, unreadable, or of a schema that this version does not know."""


class IntegrityError(BundleError):
    """A file of the bundle is missing or is not the one that was exported."""


@dataclass(frozen=True)
class Sizes:
    """Other input sizes that the graph takes: both sides from min to max, in steps of multiple."""

    min: int
    max: int
    multiple: int


@dataclass(frozen=True)
class Input:
    """The graph's only input: uint8 [B, height, width, 3], RGB, named `name`."""

    height: int
    width: int
    geometry: Geometry
    filter: Filter
    name: str = "image"
    sizes: Sizes | None = None

    def __post_init__(self) -> None:
        _one_of("input.geometry", self.geometry, get_args(Geometry))
        _one_of("input.filter", self.filter, get_args(Filter))


@dataclass(frozen=True)
class Output:
    """One output, float32; `shape` holds "batch" for B and numbers for the rest.

    The numbers hold at the input's own height and width. Where it has `sizes`, a level's map has
    the picture's height and width divided by its stride, and the fused map is as large as the
    first level's.
    """

    name: str
    shape: tuple[str | int, ...]
    datatype: str = "FP32"


@dataclass(frozen=True)
class Level:
    """One tap: its map is the output attention_<name>, one cell of it `stride` pixels of the input,
    `grid` (h, w) at the input's own height and width.

    With softmax, sparsemax and one-hot a map sums to 1; with sigmoid nothing is promised.
    """

    name: str
    grid: tuple[int, int]
    stride: tuple[int, int]
    normalisation: Normalisation

    def __post_init__(self) -> None:
        _one_of("level.normalisation", self.normalisation, get_args(Normalisation))


@dataclass(frozen=True)
class File:
    """One file of the bundle, as it was exported."""

    sha256: str
    bytes: int


@dataclass(frozen=True)
class Manifest:
    """What manifest.json says. `outputs` is in the order in which the graph gives them."""

    name: str
    version: str
    labels: tuple[str, ...]
    input: Input
    outputs: tuple[Output, ...]
    levels: tuple[Level, ...]
    files: Mapping[str, File]
    metrics: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    parity: Mapping[str, Any] = field(default_factory=dict)
    license: str = "Apache-2.0"
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        if self.outputs[0].shape != ("batch", len(self.labels)):
            raise ManifestError(
                f"{len(self.labels)} labels do not fit the output {self.outputs[0].name} of shape "
                f"{list(self.outputs[0].shape)}; there must be one label a class"
            )
        expected = output_names([level.name for level in self.levels])
        if [output.name for output in self.outputs] != expected:
            names = ", ".join(output.name for output in self.outputs)
            raise ManifestError(f"the outputs are {names}; they must be {', '.join(expected)}")

    @cached_property
    def output_names(self) -> tuple[str, ...]:
        """In the order of the outputs."""
        return tuple(output.name for output in self.outputs)

    @property
    def attention(self) -> dict[str, str]:
        """Level name (`conv10`, or `fused`) -> output name, in the order of the outputs."""
        prefix = "attention_"
        names = [output.name for output in self.outputs if output.name.startswith(prefix)]
        return {name.removeprefix(prefix): name for name in names}

    def check_labels(self, metadata: Mapping[str, str]) -> None:
        """Compares the labels that a graph's file holds (ONNX metadata_props) with these.

        The manifest has no hash of its own: labels swapped in it would show nowhere else.

        Raises:
            IntegrityError: they differ or are missing.
        """
        found, mine = metadata.get("labels"), json.dumps(list(self.labels))
        if found != mine:
            raise IntegrityError(
                f"{self.name}/{self.version}: the graph's own labels are {found}, "
                f"the manifest says {mine}; one of them was changed after the export"
            )

    def write(self, folder: Path) -> None:
        """Writes manifest.json into `folder`; the last thing that happens to a bundle."""
        text = json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"
        (folder / FILE_NAME).write_text(text, encoding="utf-8")


def output_names(levels: list[str]) -> list[str]:
    """The outputs of a network with these levels, in the contract's order."""
    maps = [f"attention_{level}" for level in levels]
    fused = [FUSED] if len(levels) >= 2 else []
    return ["probabilities", *maps, *fused, "descriptor"]


def read(folder: Path) -> Manifest:
    """Reads a bundle's manifest without touching its other files.

    Raises:
        ManifestError: it is missing, is no JSON, lacks a field, or is of a newer schema.
    """
    path = folder / FILE_NAME
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ManifestError(
            f"{folder} is no complete bundle: it has no {FILE_NAME}; "
            "`attnvgg-export build` writes that file last"
        ) from None
    except (OSError, ValueError) as error:
        raise ManifestError(f"{path} cannot be read: {error}") from error
    return _parse(data, path)


def read_all(models: Path) -> list[tuple[Path, Manifest]]:
    """Every complete bundle MODELS/NAME/VERSION with its folder, its files verified.

    A folder without a manifest is none yet, and a name that begins with a dot is an export in
    progress.

    Raises:
        BundleError: there is none, or one is broken or in a folder of another name.
    """
    found = []
    for folder in sorted(path for path in models.glob("*/*") if path.is_dir()):
        if folder.name.startswith(".") or folder.parent.name.startswith("."):
            continue
        if (folder / FILE_NAME).is_file():
            found.append((folder, read_named(folder)))
        else:
            logger.warning("%s has no %s: no bundle (yet)", folder, FILE_NAME)
    if not found:
        raise ManifestError(f"{models} holds no bundle NAME/VERSION/ with a {FILE_NAME}")
    return found


def read_named(folder: Path) -> Manifest:
    """The manifest of the bundle NAME/VERSION in `folder`, its files verified.

    Raises:
        BundleError: it is broken, or in a folder of another name.
    """
    manifest = read(folder)
    verify_files(folder, manifest)
    if (manifest.name, manifest.version) != (folder.parent.name, folder.name):
        raise ManifestError(
            f"{folder} holds {manifest.name}/{manifest.version}; the folders must have those names"
        )
    return manifest


def verify_files(folder: Path, manifest: Manifest) -> None:
    """Compares every listed file with its sha256.

    Raises:
        IntegrityError: the first file that is missing or differs, by name.
    """
    for name, file in manifest.files.items():
        path = folder / name
        if not path.is_file():
            raise IntegrityError(f"{folder}: {name} is missing")
        found = sha256(path)
        if found != file.sha256:
            raise IntegrityError(
                f"{folder}: {name} has sha256 {found}, the manifest says {file.sha256}; "
                "the file was changed or cut off after the export"
            )


def sha256(path: Path) -> str:
    """The sha256 of a file, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _parse(data: Any, path: Path) -> Manifest:
    if not isinstance(data, dict):
        raise ManifestError(f"{path} holds a {type(data).__name__}; it must be a JSON object")
    version = data.get("schema_version")
    if version != SCHEMA_VERSION:
        raise ManifestError(
            f"{path} has schema version {version!r}; this attnvgg reads version {SCHEMA_VERSION}"
        )
    try:
        sizes = data["input"].get("sizes")
        parts = {
            "labels": tuple(data["labels"]),
            "input": _build(Input, {**data["input"], "sizes": sizes and _build(Sizes, sizes)}),
            "outputs": tuple(_build(Output, o, shape=tuple(o["shape"])) for o in data["outputs"]),
            "levels": tuple(
                _build(Level, v, grid=tuple(v["grid"]), stride=tuple(v["stride"]))
                for v in data["levels"]
            ),
            "files": {name: _build(File, file) for name, file in data["files"].items()},
        }
        return _build(Manifest, data, **parts)
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ManifestError(f"{path} is not a manifest of schema {version}: {error!r}") from error


def _build(kind: type[T], data: Mapping[str, Any], **parts: Any) -> T:
    """Fields that this version does not know are ignored: a newer minor version may add some."""
    known = {f.name for f in fields(kind)}  # type: ignore[arg-type]
    return kind(**{key: value for key, value in data.items() if key in known} | parts)


def _one_of(what: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ManifestError(f"{what} is {value!r}; it must be one of {', '.join(allowed)}")
