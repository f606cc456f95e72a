"""Which bundles there are, and which one a request means."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from attnvgg_bundle import manifest as manifests
from attnvgg_bundle.manifest import BundleError, Manifest
from attnvgg_serving.errors import ModelNotFound, StartError

M = TypeVar("M")


@dataclass(frozen=True)
class Bundle:
    """A folder that is complete: its manifest is there and every hash agrees."""

    folder: Path
    manifest: Manifest


def scan(models: Path) -> list[Bundle]:
    """Every bundle MODELS/NAME/VERSION, verified. A folder without a manifest is none yet.

    Raises:
        StartError: there is none, or one is broken, or its folder has not its name.
    """
    if not models.is_dir():
        raise StartError(
            f"ATTNVGG_MODELS is {str(models)!r}, which is no folder (looked from {Path.cwd()}); "
            "it must hold bundles as NAME/VERSION/"
        )
    try:
        return [Bundle(folder, manifest) for folder, manifest in manifests.read_all(models)]
    except BundleError as error:
        raise StartError(str(error)) from error


def default_name(models: Path, configured: str | None, names: set[str]) -> str:
    """The model that answers where a request names none.

    Raises:
        StartError: it is not there, or nothing says which of several it is.
    """
    file = models / "default"
    if configured:
        source, name = "ATTNVGG_DEFAULT_MODEL", configured
    elif file.is_file():
        source, name = str(file), file.read_text(encoding="utf-8", errors="replace").strip()
    elif len(names) == 1:
        return next(iter(names))
    else:
        raise StartError(f"{file} is missing; it must hold one of {', '.join(sorted(names))}")
    if name not in names:
        raise StartError(f"{source} names {name!r}; there is {', '.join(sorted(names))}")
    return name


def version_key(version: str) -> list[tuple[int, int, str]]:
    """Orders versions by their numbers: 2 before 10, 1.9 before 1.10, words before numbers."""
    parts = version.split(".")
    return [(1, int(part), "") if part.isdecimal() else (0, 0, part) for part in parts]


@dataclass
class Registry(Generic[M]):
    """What is served, by name and version."""

    default: str
    _models: dict[str, dict[str, M]] = field(default_factory=dict)

    def add(self, name: str, version: str, model: M) -> M | None:
        """From now on requests find `model`; what they found until now."""
        versions = self._models.setdefault(name, {})
        old = versions.get(version)
        versions[version] = model
        return old

    def remove(self, name: str, version: str) -> M | None:
        """From now on requests do not find it; it, if it was there."""
        versions = self._models.get(name, {})
        old = versions.pop(version, None)
        if not versions:
            self._models.pop(name, None)
        return old

    def is_default(self, model: M) -> bool:
        """Whether it answers where a request names no model and no version."""
        versions = self._models.get(self.default)
        return versions is not None and versions[max(versions, key=version_key)] is model

    def all(self) -> list[M]:
        """By name, the highest version first."""
        return [
            versions[version]
            for _, versions in sorted(self._models.items())
            for version in sorted(versions, key=version_key, reverse=True)
        ]

    def find(self, name: str | None, version: str | None) -> M:
        """The named version, or the highest one of the named model, or of the default.

        Raises:
            ModelNotFound: with what there is.
        """
        name = name or self.default
        versions = self._models.get(name)
        if versions is None:
            there = ", ".join(sorted(self._models)) or "none"
            raise ModelNotFound(f"there is no model {name!r}; there is {there}")
        version = version or max(versions, key=version_key)
        if version not in versions:
            there = ", ".join(sorted(versions, key=version_key))
            raise ModelNotFound(f"{name} has no version {version!r}; it has {there}")
        return versions[version]
