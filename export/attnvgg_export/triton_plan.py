"""What a Triton model repository must hold for the bundles of a models folder."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from attnvgg_bundle import manifest as manifests
from attnvgg_bundle.manifest import Manifest
from attnvgg_export import triton_config as config
from attnvgg_export.formats import graphs
from attnvgg_export.triton_options import Options, RepositoryError

CONFIG = "config.pbtxt"
GRAPH = "model.onnx"
# Triton reads version folders as int64 and ignores those that begin with a zero.
VERSION = re.compile(r"[1-9][0-9]{0,17}")
# What stands in a URL and in a configuration without being quoted.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

BACKEND = Path(__file__).with_name("triton_backend")
PREPROCESS = Path(manifests.__file__).with_name("preprocess.py")
# Python's bytecode would be a change in the version's folder, for which Triton loads it again.
NO_BYTECODE = {"__pycache__": BACKEND / "pycache.txt"}


@dataclass(frozen=True)
class Bundle:
    """A complete bundle and its folder."""

    folder: Path
    manifest: Manifest


@dataclass(frozen=True)
class Model:
    """A folder of the repository: its own files by text, each version's by what they copy."""

    name: str
    texts: Mapping[str, str]
    versions: Mapping[str, Mapping[str, Path]]


def plan(models: Path, options: Options, repository: Path) -> list[Model]:
    """Three models a bundle's name, an ensemble after its parts; `repository` is only read, for the
    versions that stay there though their bundles are gone.

    Raises:
        BundleError: a bundle is broken.
        RepositoryError: there is none, or Triton could not serve one as it is.
    """
    found = read(models)
    names = {bundle.manifest.name for bundle in found}
    planned: list[Model] = []
    for name in sorted(names):
        _check_name(name, names)
        bundles = [bundle for bundle in found if bundle.manifest.name == name]
        bundles.sort(key=lambda bundle: int(bundle.manifest.version))
        planned += _models(bundles, options, _hashes(bundles, options, repository / name))
    return planned


def versions(folder: Path) -> list[str]:
    """The version folders of a model, in their order."""
    found = folder.iterdir() if folder.is_dir() else ()
    return sorted((p.name for p in found if VERSION.fullmatch(p.name) and p.is_dir()), key=int)


def read(models: Path) -> list[Bundle]:
    """Every bundle MODELS/NAME/VERSION, verified, and such as Triton can take."""
    if not models.is_dir():
        raise RepositoryError(f"MODELS_DIR is {models}, which is no folder; it must hold bundles")
    found = [Bundle(folder, manifest) for folder, manifest in manifests.read_all(models)]
    for bundle in found:
        _check_bundle(bundle)
    return found


def _models(bundles: Sequence[Bundle], options: Options, hashes: Mapping[str, str]) -> list[Model]:
    newest = bundles[-1].manifest
    name = newest.name
    decoder, ensemble = config.decoder_name(name), config.ensemble_name(name)
    decoding = {"model.py": BACKEND / "decode.py", PREPROCESS.name: PREPROCESS, **NO_BYTECODE}
    shared = {config.LABELS: config.labels(newest), CONFIG: config.model(newest, options)}
    both = config.ensemble(newest, options, hashes)
    return [
        Model(name, shared, {b.manifest.version: _files(b, options) for b in bundles}),
        Model(decoder, {CONFIG: config.decoder(newest, options)}, _versions(bundles, decoding)),
        Model(ensemble, {CONFIG: both}, _versions(bundles, {})),
    ]


def _hashes(bundles: Sequence[Bundle], options: Options, folder: Path) -> dict[str, str]:
    """Version -> sha256 of the graph that runs, of the bundles and of what else is in `folder`."""
    files = {bundle.manifest.version: bundle.manifest.files for bundle in bundles}
    hashes = {
        version: f[options.graph].sha256 for version, f in files.items() if options.graph in f
    }
    try:
        for version in versions(folder):
            if version not in files and (folder / version / GRAPH).is_file():
                hashes[version] = manifests.sha256(folder / version / GRAPH)
    except OSError as error:
        reason = error.strerror or error
        raise RepositoryError(f"{folder} cannot be read: {reason}") from error
    return dict(sorted(hashes.items(), key=lambda each: int(each[0])))


def _files(bundle: Bundle, options: Options) -> dict[str, Path]:
    """The graph under Triton's name for it, and its parts under the names that it knows."""
    listed, graph = bundle.manifest.files, options.graph
    if graph not in listed:
        raise RepositoryError(
            f"{bundle.folder} has no {graph}, which --format {options.format} needs; its formats "
            f"are {', '.join(graphs(bundle.manifest))}"
        )
    parts = [name for name in listed if re.fullmatch(re.escape(graph) + r"\.data[0-9]*", name)]
    python = {"model.py": BACKEND / "infer.py", **NO_BYTECODE}
    code = python if options.backend == "python" else {}
    copied = {name: bundle.folder / name for name in (*parts, manifests.FILE_NAME)}
    return {GRAPH: bundle.folder / graph, **copied, **code}


def _versions(
    bundles: Sequence[Bundle], files: Mapping[str, Path]
) -> dict[str, Mapping[str, Path]]:
    name = manifests.FILE_NAME
    return {b.manifest.version: {**files, name: b.folder / name} for b in bundles}


def _check_bundle(bundle: Bundle) -> None:
    if not VERSION.fullmatch(bundle.manifest.version):
        raise RepositoryError(
            f"{bundle.folder}: the version is {bundle.manifest.version!r}; Triton takes whole "
            "numbers from 1 on, without leading zeros"
        )
    if broken := [label for label in bundle.manifest.labels if "\n" in label]:
        raise RepositoryError(f"{bundle.folder}: the label {broken[0]!r} has a line break in it")


def _check_name(name: str, names: set[str]) -> None:
    if not NAME.fullmatch(name):
        raise RepositoryError(
            f"the bundle's name is {name!r}; Triton's names may have letters, digits, '.', '_' "
            "and '-', and begin with a letter or digit"
        )
    for taken in (config.decoder_name(name), config.ensemble_name(name)):
        if taken in names:
            raise RepositoryError(
                f"the bundle {taken!r} has the name of a model that Triton gets for the bundle "
                f"{name!r}; export one of them under another name"
            )
