"""What a Triton model repository lacks of a plan, and whether it may be added."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from attnvgg_bundle import manifest as manifests
from attnvgg_bundle.manifest import BundleError, Manifest
from attnvgg_export.triton_config import HEADER
from attnvgg_export.triton_options import RepositoryError
from attnvgg_export.triton_plan import CONFIG, Model, versions

MODEL_CODE = "model.py"


@dataclass(frozen=True)
class Change:
    """What `folder`, one model's, lacks: versions and texts as in Model; `lines` say what is there.

    `texts` has those that are missing or read otherwise.
    """

    folder: Path
    versions: Mapping[str, Mapping[str, Path]]
    texts: Mapping[str, str]
    lines: Sequence[str]


def compare(model: Model, folder: Path) -> Change:
    """Compares a planned model with its folder in the repository, which need not exist.

    Raises:
        RepositoryError: the folder is not ours, has another graph under a planned version, or has
            versions that cannot share a configuration with the planned ones.
    """
    if folder.exists() and not is_ours(folder):
        raise RepositoryError(
            f"{folder} exists and `attnvgg-export triton` did not write it; "
            "choose another --repository"
        )
    there = versions(folder)
    _check_alike(model, {version: _origin(folder / version) for version in there})
    lines = []
    for version in there:
        what = f"{model.name} version {version}"
        if version in model.versions:
            lines.append(f"kept      {what}{_remark(folder / version, model.versions[version])}")
        else:
            lines.append(f"left      {what}, which is not in MODELS_DIR")
    return Change(
        folder,
        {version: files for version, files in model.versions.items() if version not in there},
        {name: text for name, text in model.texts.items() if _text(folder / name) != text},
        lines,
    )


def is_ours(folder: Path) -> bool:
    """Did an earlier run write this folder of a repository?"""
    return (_text(folder / CONFIG) or "").startswith(HEADER)


def _check_alike(model: Model, there: Mapping[str, Manifest]) -> None:
    """All versions of a Triton model share one config.pbtxt."""
    planned = {
        version: manifests.read(files[manifests.FILE_NAME].parent)
        for version, files in model.versions.items()
    }
    (first, expected), *others = ((v, _shared(m)) for v, m in {**there, **planned}.items())
    for version, found in others:
        for what, value in expected.items():
            if found[what] != value:
                raise RepositoryError(
                    f"{model.name} versions {first} and {version} cannot share one {CONFIG}: "
                    f"{what} is {value} and {found[what]}; export one under another name"
                )


def _shared(bundle: Manifest) -> dict[str, str]:
    """What config.pbtxt and labels.txt say of every version; the name is the bundle's."""
    return {
        "name": bundle.name,
        "labels": json.dumps(bundle.labels, ensure_ascii=False),
        **{f"input.{name}": str(value) for name, value in asdict(bundle.input).items()},
        "outputs": ", ".join(f"{each.name} {list(each.shape)}" for each in bundle.outputs),
    }


def _origin(folder: Path) -> Manifest:
    try:
        return manifests.read(folder)
    except BundleError as error:
        raise RepositoryError(
            f"{folder} was not written by `attnvgg-export triton`: {error}"
        ) from error


def _remark(folder: Path, files: Mapping[str, Path]) -> str:
    """Checks that a version has the planned graph; other code than today's may stay."""
    if (folder / MODEL_CODE).exists() != (MODEL_CODE in files):
        raise RepositoryError(
            f"{folder} was written for another --backend; choose another --repository"
        )
    changed = [name for name, source in files.items() if not _same(folder / name, source)]
    code = [name for name in changed if name.endswith(".py")]
    graph = [name for name in changed if ".onnx" in name]
    if graph:
        raise RepositoryError(
            f"{folder / graph[0]} is not {files[graph[0]]}; a version is never changed: export "
            "the bundle under a new version (or is it another --format?), or choose another "
            "--repository"
        )
    return f", with the {' and '.join(code)} of another release" if code else ""


def _same(left: Path, right: Path) -> bool:
    return left.is_file() and manifests.sha256(left) == manifests.sha256(right)


def _text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else None
