"""Reading many pictures: all into memory, or each once to know that it can be read."""

import hashlib
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from tqdm import tqdm

from attnvgg_bundle.preprocess import PictureError
from attnvgg_training.config import DataConfig
from attnvgg_training.data import cache
from attnvgg_training.data.cache import DIGEST, Content
from attnvgg_training.data.part import Part
from attnvgg_training.data.pictures import Arrays, Pictures
from attnvgg_training.data.split import read

log = logging.getLogger(__name__)
# Small pictures spend their time in Python, where threads only queue; in chunks they queue less.
CHUNK = 256


def read_all(part: Part, config: DataConfig) -> Content:
    """All pictures of a part, at the network's size; digests are of those pixels."""
    size = config.image_size
    if isinstance(part.pictures, Arrays) and part.pictures.images.shape[1:3] == (size, size):
        images, errors = part.pictures.images.numpy()[part.indices], {}
    else:
        images = np.zeros((len(part), size, size, 3), dtype=np.uint8)

        def one(number: int) -> None:
            images[number] = read(part, number, config)

        errors = _each(one, range(len(part)), "reading")
    hashes = b"".join(_digest(image.tobytes()) for image in images)
    digests = np.frombuffer(hashes, dtype=np.uint8).reshape(-1, DIGEST)
    return Content(digests, errors, torch.from_numpy(images))


def survey(part: Part, seen: dict[int, Content]) -> Content:
    """Decodes every picture of a part once; digests are of the bytes as stored.

    `seen`, by id of the pictures, spares a second look where two parts share them.
    """
    key = id(part.pictures)
    if key not in seen:
        seen[key] = _survey(part.pictures)
    known = seen[key]
    place = {int(index): number for number, index in enumerate(part.indices)}
    errors = {place[i]: reason for i, reason in known.errors.items() if i in place}
    return Content(known.digests[part.indices], errors)


def _digest(content: bytes) -> bytes:
    """16 bytes that are equal for equal contents."""
    return hashlib.blake2b(content, digest_size=DIGEST).digest()


def _survey(pictures: Pictures) -> Content:
    """What is remembered, and what is not: pictures that could not be read are tried again."""
    known = cache.recall(pictures)
    if known is None:
        log.info("opening each of %d pictures once, to know that all can be read", len(pictures))
        digests = np.zeros((len(pictures), DIGEST), dtype=np.uint8)
        wanted: Sequence[int] = range(len(pictures))
    else:
        digests, wanted = known.digests, list(known.errors)

    def one(index: int) -> None:
        content = pictures.content(index)
        pictures.decode(index, content)
        digests[index] = np.frombuffer(_digest(content), dtype=np.uint8)

    found = Content(digests, _each(one, wanted, "opening"))
    if known is None or found.errors != known.errors:
        cache.remember(pictures, found)
    return found


def _each(act: Callable[[int], None], numbers: Sequence[int], title: str) -> dict[int, str]:
    """Calls `act` with every number; returns those that failed, and why."""
    errors: dict[int, str] = {}

    def chunk(some: Sequence[int]) -> None:
        for number in some:
            try:
                act(number)
            except (OSError, PictureError) as error:
                # Python's own text would name the path once more.
                reason = error.strerror if isinstance(error, OSError) else None
                errors[number] = reason or str(error)

    chunks = [numbers[start : start + CHUNK] for start in range(0, len(numbers), CHUNK)]
    with (
        ThreadPoolExecutor() as pool,
        tqdm(total=len(numbers), desc=title, leave=False, disable=None) as bar,
    ):
        for done, _ in zip(chunks, pool.map(chunk, chunks), strict=True):
            bar.update(len(done))
    return dict(sorted(errors.items()))
