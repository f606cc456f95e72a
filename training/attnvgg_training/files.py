"""Files and folders that are there whole or not at all, whatever ends the process.

Everything is written beside its place under a hidden name and renamed. Before the rename it is
brought to the disk (fsync), and so is the folder that names it after: a killed process would not
need that, but a machine that loses its power may write names before contents, and the checkpoint
before this one is deleted soon after. It costs milliseconds an epoch.
"""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

Content = bytes | memoryview


def beside(path: Path) -> Path:
    """The hidden name under which `path` is prepared."""
    return path.with_name(f".{path.name}.tmp-{os.getpid()}")


def write(path: Path, content: Content) -> None:
    """Replaces a file."""
    fresh = beside(path)
    try:
        _write(fresh, content)
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
    _sync(path.parent)


def write_folder(folder: Path, contents: Mapping[str, Content]) -> None:
    """Makes a folder of files, in place of one of that name; its parents too.

    Raises:
        OSError: it cannot be written; what was there before is as it was.
    """
    fresh = beside(folder)
    try:
        fresh.mkdir(parents=True)
        for name, content in contents.items():
            _write(fresh / name, content)
        _sync(fresh)
        remove(folder)
        fresh.rename(folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    _sync(folder.parent)


def remove(folder: Path) -> None:
    """Deletes a folder, which loses its name first: a half-deleted one cannot be mistaken."""
    if folder.exists():
        doomed = folder.with_name(f".{folder.name}.old.tmp-{os.getpid()}")
        folder.rename(doomed)
        shutil.rmtree(doomed)


def point(link: Path, target: Path) -> None:
    """Makes `link` a symlink to what lies beside it, by rename."""
    fresh = beside(link)
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target.name)
    fresh.replace(link)
    _sync(link.parent)


def tidy(folder: Path) -> None:
    """Deletes what a process that was killed left unfinished."""
    for path in folder.glob(".*.tmp-*"):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _write(path: Path, content: Content) -> None:
    with path.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
