"""The client draws overlays on the pixels that the server saw: two decoders, one rule.

The client imports nobody, so it has the rules of attnvgg_bundle.preprocess a second time.
"""

import io

import numpy as np
import pytest
from PIL import Image

from attnvgg_bundle.preprocess import decode
from attnvgg_client._decode import upright_rgb

MODES = ("RGB", "L", "1", "P", "RGBA", "LA", "I;16", "CMYK")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_client_and_server_see_the_same_pixels(mode: str, orientation: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 9, 4), dtype=np.uint8)
    image = Image.fromarray(pixels)
    if mode == "I;16":
        image = Image.fromarray(pixels[..., :2].copy().view(np.uint16)[..., 0])
    elif mode != "RGBA":
        image = image.convert("RGB").convert(mode)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stream = io.BytesIO()
    image.save(stream, "JPEG" if mode == "CMYK" else "PNG", exif=exif)
    server, client = decode(stream.getvalue()), upright_rgb(stream.getvalue())
    assert np.array_equal(np.asarray(server), np.asarray(client))
