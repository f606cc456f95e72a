"""Draws tests/data/shapes, the tiny data set of the tests and of the README's commands.

Reddish circles, greenish squares and bluish triangles of random place and size on cluttered 32x32
pictures, 24 of each to train on and 8 to test on. The same pictures at every call:

    python tests/data/make_shapes.py
"""

import random
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter

HERE = Path(__file__).parent / "shapes"
HUES = {"circle": (210, 60, 50), "square": (60, 180, 70), "triangle": (60, 80, 210)}
SCALE = 4  # drawn large and made smaller, for smooth edges


def draw(shape: str, rng: random.Random) -> Image.Image:
    side = 32 * SCALE
    background = tuple(rng.randrange(90, 190) for _ in range(3))
    image = Image.new("RGB", (side, side), background)
    for _ in range(6):
        x, y, size = (rng.randrange(side) for _ in range(3))
        shade = tuple(min(255, max(0, c + rng.randrange(-40, 40))) for c in background)
        ImageDraw.Draw(image).ellipse((x - size, y - size, x + size, y + size), fill=shade)
    image = image.filter(ImageFilter.GaussianBlur(8))
    radius = rng.randrange(7, 12) * SCALE
    x, y = (rng.randrange(radius, side - radius) for _ in range(2))
    colour = tuple(c + rng.randrange(-40, 40) for c in HUES[shape])
    canvas = ImageDraw.Draw(image)
    if shape == "circle":
        canvas.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
    else:
        sides = {"square": 4, "triangle": 3}[shape]
        canvas.regular_polygon((x, y, radius), sides, rng.randrange(90), fill=colour)
    return image.resize((32, 32), Image.Resampling.BOX)


def main() -> None:
    for split, count in (("train", 24), ("test", 8)):
        for shape in ("circle", "square", "triangle"):
            folder = HERE / split / shape
            folder.mkdir(parents=True, exist_ok=True)
            for index in range(count):
                rng = random.Random(f"{split}/{shape}/{index}")
                draw(shape, rng).save(folder / f"{index:02d}.png", optimize=True)


if __name__ == "__main__":
    main()
