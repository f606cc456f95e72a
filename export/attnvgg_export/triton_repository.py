"""Writes a Triton model repository from bundles; no torch and no ONNX here.

    DIR/NAME/config.pbtxt, labels.txt
    DIR/NAME/1/model.onnx, manifest.json          and model.py with --backend python
    DIR/NAME-decode/1/model.py, preprocess.py, manifest.json
    DIR/NAME-encoded/1/manifest.json              an ensemble has no file of its own

The bundle's version is Triton's version in all three models. NAME serves every version.
NAME-encoded can only follow NAME's newest (a step's version stands in the one config.pbtxt that
all versions share), so of its folders, too, the newest alone is served: the version that it
reports is the one that ran, and deleting the newest folders of all three goes one back. Under
explicit control, loading NAME or NAME-encoded again loads the new version of both.

Everything is checked, then everything is copied into a folder beside DIR, then each model or
version appears by one rename. Triton takes every folder in DIR for a model and any change in a
model's folder for one of all its versions, so nothing is prepared in there; only where DIR is a
mounted volume it must be, and meanwhile a Triton that polls DIR says that it is not ready.
A version is never changed, and one that left MODELS_DIR stays: only an operator knows who still
asks for it.
"""

import argparse
import errno
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from attnvgg_export.triton_compare import Change, compare, is_ours
from attnvgg_export.triton_options import Options, RepositoryError, options_of
from attnvgg_export.triton_plan import plan

logger = logging.getLogger(__name__)


def run(arguments: argparse.Namespace) -> list[str]:
    """The command `triton`; returns what it has to say."""
    return write(arguments.models, arguments.repository, options_of(arguments))


def write(models: Path, repository: Path, options: Options) -> list[str]:
    """Brings `repository` up to the bundles in `models`; foreign folders in it stay as they are.

    Returns:
        A line for each version of each model, and for each text that was replaced.

    Raises:
        BundleError: a bundle is broken.
        RepositoryError: Triton could not serve a bundle as it is, something else has its place in
            the repository, or that cannot be written.
    """
    if repository.exists() and not repository.is_dir():
        raise RepositoryError(f"--repository is {repository}, which is a file; it must be a folder")
    planned = plan(models, options, repository)
    try:
        changes = [compare(model, repository / model.name) for model in planned]
        if any(change.versions or change.texts for change in changes):
            with _staging(repository) as staging:
                for change in changes:
                    _stage(change, staging / change.folder.name)
                for change in changes:
                    _publish(change, staging / change.folder.name)
        left = _left(repository, [change.folder.name for change in changes])
        return [line for change in changes for line in _lines(change)] + left
    except OSError as error:
        reason = error.strerror or error
        raise RepositoryError(f"--repository {repository} cannot be written: {reason}") from error


def _stage(change: Change, staged: Path) -> None:
    staged.mkdir()
    for version, files in change.versions.items():
        (staged / version).mkdir()
        for name, source in files.items():
            shutil.copyfile(source, staged / version / name)
    for name, text in change.texts.items():
        (staged / name).write_text(text, encoding="utf-8")


def _publish(change: Change, staged: Path) -> None:
    """A new model is one rename; of one that is there first its texts, then each version."""
    if not change.folder.exists():
        staged.rename(change.folder)
        return
    for name in change.texts:
        os.replace(staged / name, change.folder / name)
    for version in change.versions:
        (staged / version).rename(change.folder / version)


def _lines(change: Change) -> list[str]:
    name = change.folder.name
    texts = [f"written   {name}/{text}" for text in change.texts if change.lines]
    return [*change.lines, *texts, *(f"written   {name} version {v}" for v in change.versions)]


def _left(repository: Path, planned: Sequence[str]) -> list[str]:
    """Models of earlier runs whose bundles are gone; Triton goes on serving them."""
    folders = sorted(path for path in repository.iterdir() if path.name not in planned)
    return [f"left      {p.name}, which is not in MODELS_DIR" for p in folders if is_ours(p)]


@contextmanager
def _staging(repository: Path) -> Iterator[Path]:
    """An empty folder that renames into `repository` can start from; it vanishes at the end."""
    made = [path for path in (repository, *repository.parents) if not path.exists()]
    repository.mkdir(parents=True, exist_ok=True)
    home = repository.resolve()
    prefix = f".{home.name}.tmp-"
    for left in (path for path in home.iterdir() if path.name.startswith(prefix)):
        logger.warning("%s is of a run that was killed, or still runs; Triton trips over it", left)
    folder = _beside(home, prefix) or Path(tempfile.mkdtemp(dir=home, prefix=prefix))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        for path in made:
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()


def _beside(home: Path, prefix: str) -> Path | None:
    """A new folder beside `home`; None where nothing can be renamed from there to `home`."""
    try:
        folder = Path(tempfile.mkdtemp(dir=home.parent, prefix=prefix))
    except OSError:
        return None
    try:
        # Never succeeds and never changes anything; EXDEV says that `home` is a mounted volume.
        os.rename(folder, f"{home}/.")
    except OSError as error:
        if error.errno == errno.EXDEV:
            folder.rmdir()
            return None
    return folder
