"""What Prediction.save writes: an overlay, the prediction as JSON, or its maps for numpy."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import quote

from attnvgg_client import _saving
from attnvgg_client._errors import InvalidArgumentError
from attnvgg_client._levels import several
from attnvgg_client._pictures import PictureLike, Source, short

if TYPE_CHECKING:
    from attnvgg_client._overlay import Options
    from attnvgg_client._prediction import Prediction


def save(
    prediction: Prediction,
    path: str | os.PathLike[str],
    level: str | None,
    image: PictureLike,
    options: Options,
) -> None:
    """See Prediction.save."""
    target = _path(path)
    _check_harmless(target, prediction._source)
    if isinstance(image, str | os.PathLike):
        _check_harmless(target, Source(Path(image)))
    suffix = target.suffix.lower()
    if suffix in _saving.PICTURES:
        drawn = prediction.overlay(level, image, **vars(options))
        return _saving.write_picture(target, drawn)
    if level is not None:
        raise InvalidArgumentError(f"level is {short(level)}; a {suffix} file holds every level")
    if suffix == ".json":
        text = json.dumps(prediction.to_dict(), allow_nan=False) + "\n"
        return _saving.write_beside(target, lambda stream: stream.write(text.encode("ascii")))
    arrays = _arrays(prediction)
    return _saving.write_beside(target, lambda stream: _savez(stream, arrays))


def _path(path: str | os.PathLike[str]) -> Path:
    allowed = [*_saving.PICTURES, ".json", ".npz"]
    if not isinstance(path, str | os.PathLike):
        raise InvalidArgumentError(f"path is {short(path)}; it must be the name of a file")
    target = Path(path)
    if target.suffix.lower() not in allowed:
        raise InvalidArgumentError(
            f"path is {short(os.fspath(path))}; it must end in one of {', '.join(allowed)}"
        )
    return target


def _check_harmless(target: Path, source: Source | None) -> None:
    """Nobody's photo is replaced by an overlay, by whatever name or link it is reached."""
    if source is not None and target.is_file() and _is_picture(target, source.place):
        raise InvalidArgumentError(f"{target} is the picture itself; choose another name")


def _is_picture(target: Path, place: Path | bytes) -> bool:
    if isinstance(place, Path):
        return place.exists() and target.samefile(place)
    # An open file or a download is remembered by its bytes, not by its name.
    return target.stat().st_size == len(place) and target.read_bytes() == place


def _arrays(prediction: Prediction) -> dict[str, Any]:
    import numpy as np

    maps = several(prediction.attention, None, prediction.model.name)
    scores, seen, model = prediction.top_k, prediction.input, prediction.model
    named = {name: quote(name, safe="", errors="replace") for name in maps}  # files in a zip
    return {f"attention_{named[name]}": np.asarray(a, np.float32) for name, a in maps.items()} | {
        "levels": np.array(list(maps), np.str_),
        "label": np.array(prediction.label, np.str_),
        "index": np.int64(prediction.index),
        "probability": np.float64(prediction.probability),
        "top_k_label": np.array([score.label for score in scores], np.str_),
        "top_k_index": np.array([score.index for score in scores], np.int64),
        "top_k_probability": np.array([score.probability for score in scores], np.float64),
        "size": np.array([seen.width, seen.height], np.int64),
        "box": np.array(seen.box, np.float64),
        "model": np.array([model.name, model.version, model.sha256, model.provider], np.str_),
        "request_id": np.array(prediction.request_id, np.str_),
    }


def _savez(stream: IO[bytes], arrays: dict[str, Any]) -> None:
    import numpy as np

    np.savez_compressed(stream, **arrays)
