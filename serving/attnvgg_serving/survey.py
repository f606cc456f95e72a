"""What lies in the models folder, looked at cheaply and often."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from attnvgg_bundle import manifest as manifests
from attnvgg_bundle.manifest import FILE_NAME

Key = tuple[str, str]  # name, version


@dataclass(frozen=True)
class Found:
    """A complete bundle on the disk, not verified.

    stamp: names, times and sizes of its files; it changes with every change to any of them.
    identity: the sha256 of its manifest, which holds that of every file.
    """

    folder: Path
    stamp: str
    identity: str


class Survey:
    """Looks again and again; a manifest is read only where a file changed since the last look."""

    def __init__(self, models: Path) -> None:
        self._models = models
        self._last: Mapping[Key, Found] = {}

    def look(self) -> Mapping[Key, Found]:
        """Every complete bundle NAME/VERSION: its manifest is there, which is written last.

        Names that begin with a dot are exports in progress.

        Raises:
            OSError: the folder cannot be read.
        """
        found = {}
        for name in _folders(self._models):
            for version in _folders(Path(name.path)):
                key = (name.name, version.name)
                if bundle := self._look_at(key, Path(version.path)):
                    found[key] = bundle
        self._last = found
        return found

    def _look_at(self, key: Key, folder: Path) -> Found | None:
        try:
            stamp = _stamp(folder)
            last = self._last.get(key)
            if last is not None and last.stamp == stamp:
                return last
            # In this order: what is written meanwhile has another stamp at the next look.
            return Found(folder, stamp, manifests.sha256(folder / FILE_NAME))
        except (FileNotFoundError, NotADirectoryError):
            return None


def _folders(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return [e for e in entries if e.is_dir() and not e.name.startswith(".")]


def _stamp(folder: Path) -> str:
    with os.scandir(folder) as entries:
        files = sorted((e.name, s.st_mtime_ns, s.st_size) for e in entries if (s := e.stat()))
    return hashlib.sha256(repr(files).encode()).hexdigest()[:16]
