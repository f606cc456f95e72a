"""A bundle on trial: nothing serves before it has answered as its export promised."""

import logging
from pathlib import Path

import numpy as np

from attnvgg_bundle import compare, golden
from attnvgg_bundle import manifest as manifests
from attnvgg_bundle.manifest import BundleError
from attnvgg_serving import engines
from attnvgg_serving.engines import Engine
from attnvgg_serving.errors import EngineAway, StartError, WireError
from attnvgg_serving.registry import Bundle
from attnvgg_serving.settings import Settings

logger = logging.getLogger(__name__)

FORMATS = {"fp32": "onnx", "int8": "int8", "fp16": "fp16"}  # an engine's precision -> the export's


def load(folder: Path, settings: Settings) -> tuple[Bundle, Engine]:
    """The bundle NAME/VERSION in `folder`, its hashes right, warm, and right on golden.npz.

    Blocks for seconds: call it off the loop.

    Raises:
        StartError: one line that says what is wrong.
        EngineAway: the engine is; the bundle may be right.
    """
    try:
        bundle = Bundle(folder, manifests.read_named(folder))
        engine = engines.create(bundle, settings)
    except StartError:
        raise
    except (BundleError, OSError) as error:
        raise StartError(_line(error)) from error
    except Exception as error:
        # A bundle of somebody else's making may fail in ways that nobody thought of.
        logger.exception("%s cannot be loaded", folder)
        raise StartError(f"{folder} cannot be loaded: {_line(error)}") from error
    try:
        check_golden(bundle, engine, settings.max_batch)
    except WireError as error:
        engine.close()
        raise EngineAway(f"{folder} could not be tried: {_line(error)}") from error
    except Exception as error:
        engine.close()
        raise StartError(_line(error)) from error
    return bundle, engine


def check_golden(bundle: Bundle, engine: Engine, max_batch: int) -> None:
    """Runs golden.npz and compares as `attnvgg-export verify` does.

    Raises:
        BundleError: golden.npz or its limits cannot be used, or an answer is outside of them.
    """
    folder, manifest = bundle.folder, bundle.manifest
    image, expected = golden.read(folder)
    limit = golden.limit(folder, manifest, FORMATS.get(engine.precision, engine.precision))
    names = [output.name for output in manifest.outputs]
    parts = [
        engine.run(image[start : start + max_batch], names)
        for start in range(0, len(image), max_batch)
    ]
    found = {name: np.concatenate([part[name] for part in parts]) for name in names}
    where = f"{folder} on {golden.FILE_NAME} ({engine.provider}, {engine.precision})"
    compare.compare(expected, found, limit, where)


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or repr(error)
