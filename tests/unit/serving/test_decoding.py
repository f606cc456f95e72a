"""Two lanes: large pictures never hold up small ones, whatever the threads."""

import asyncio

import pytest
from PIL import Image

from attnvgg_bundle.manifest import Input
from attnvgg_bundle.preprocess import Fitted
from attnvgg_serving import decoding
from attnvgg_serving.errors import ImageTooLarge, InvalidImage, Overloaded
from traffic import png, save

INPUT = Input(32, 32, "stretch", "bicubic")
LARGE = save(Image.new("1", (2100, 2000)), "PNG")


def decoded(picture: bytes, max_pixels: int = 25_000_000) -> Fitted:
    async def story() -> Fitted:
        decoders = decoding.Decoders(1, max_pixels)
        try:
            return await decoders.to_input(picture, INPUT)
        finally:
            decoders.close()

    return asyncio.run(story())


def test_both_lanes_decode() -> None:
    assert decoded(png(1)).width == 40
    assert decoded(LARGE).width == 2100


@pytest.mark.parametrize(
    ("picture", "most", "error"),
    [
        (LARGE, 3_000_000, ImageTooLarge),
        (LARGE, 4_100_000, ImageTooLarge),
        (LARGE[:-40], 25_000_000, InvalidImage),
        (b"\xff\xd8\xff", 25_000_000, InvalidImage),
    ],
)
def test_the_limit_is_the_settings_in_both_lanes(
    picture: bytes, most: int, error: type[Exception]
) -> None:
    with pytest.raises(error) as caught:
        decoded(picture, most)
    if error is ImageTooLarge:
        assert f"at most {most:,} are allowed" in str(caught.value)


def test_a_small_picture_overtakes_a_large_one() -> None:
    order: list[str] = []

    async def story() -> None:
        decoders = decoding.Decoders(1, 25_000_000)
        large = [asyncio.create_task(decoders.to_input(LARGE, INPUT)) for _ in range(4)]
        small = asyncio.create_task(decoders.to_input(png(1), INPUT))
        for task in large:
            task.add_done_callback(lambda _: order.append("large"))
        small.add_done_callback(lambda _: order.append("small"))
        await asyncio.gather(*large, small)
        decoders.close()

    asyncio.run(story())
    assert order.index("small") < 3


@pytest.mark.parametrize(("seconds", "header"), [(0.0, "1"), (2.2, "3"), (500.0, "30")])
def test_the_time_to_come_back_is_whole_and_bounded(seconds: float, header: str) -> None:
    assert Overloaded("full", retry_after=seconds).headers == {"Retry-After": header}
