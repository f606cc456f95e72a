"""What a notebook shows for a prediction: its overlay, and below it the line that repr gives."""

from __future__ import annotations

import base64
import html
import io
from typing import TYPE_CHECKING

from attnvgg_client._fit import fit
from attnvgg_client._levels import default
from attnvgg_client._overlay import ALPHA, COLORMAP, SCALE, Options, check, draw

if TYPE_CHECKING:
    from PIL import Image

    from attnvgg_client._prediction import Prediction

LONGEST = 480


def png(prediction: Prediction) -> bytes | None:
    """The default level's overlay, or the picture where there are no maps; None without either."""
    shown = _picture(prediction)
    return None if shown is None else _encoded(shown, "PNG")


def bundle(prediction: Prediction) -> dict[str, str]:
    """The same by media type, as notebooks want it (pictures in base64), and in every case as text.

    Most front ends show either the picture or the text; only HTML shows both.
    """
    text = repr(prediction)
    shown = _picture(prediction)
    if shown is None:
        return {"text/plain": text}
    exact, small = (
        base64.b64encode(_encoded(shown, format)).decode("ascii") for format in ("PNG", "JPEG")
    )
    picture = f'<img src="data:image/jpeg;base64,{small}" width="{shown.width}" alt="">'
    markup = f"<div>{picture}<pre>{html.escape(text)}</pre></div>"
    return {"text/plain": text, "text/html": markup, "image/png": exact}


def _picture(prediction: Prediction) -> Image.Image | None:
    try:
        whole = prediction._picture(None)
        check(whole, prediction.input)
        small, seen = fit(whole, prediction.input, LONGEST)
        if not prediction.attention:
            return small
        attention = prediction.attention[default(prediction.attention)]
        return draw(small, attention, seen, Options(ALPHA, COLORMAP, SCALE))
    except Exception:  # to look at a value must never fail: the text says what there is
        return None


def _encoded(picture: Image.Image, format: str) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, format, quality=88)
    return stream.getvalue()
