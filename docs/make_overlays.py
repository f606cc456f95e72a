"""Makes docs/overlays.jpg, the README's picture, from what a running server answers.

Usage, with the default model served on ATTNVGG_URL: python docs/make_overlays.py
"""

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from attnvgg_client import Client, Prediction

ROOT = Path(__file__).parents[1]
PHOTOS = ROOT / "export" / "attnvgg_export" / "photos"
NAMES = ("ship", "cars", "dogs", "bus", "cat", "cyclists", "landing-craft")
WIDTH, HEIGHT, TEXT, GAP = 200, 134, 22, 6


def tile(image: Image.Image, text: str) -> Image.Image:
    """One picture with a line of text below it."""
    made = Image.new("RGB", (WIDTH, HEIGHT + TEXT), "white")
    made.paste(image.convert("RGB").resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS))
    font = ImageFont.load_default(13)
    ImageDraw.Draw(made).text((2, HEIGHT + 3), text, fill="black", font=font)
    return made


def column(photo: Path, prediction: Prediction) -> list[Image.Image]:
    """The photo with its label, and below it the map of every level."""
    tiles = [tile(Image.open(photo), f"{prediction.label} {prediction.probability:.0%}")]
    for level, attention in (prediction.attention or {}).items():
        most = attention.size * attention.max()
        tiles.append(tile(prediction.overlay(level), f"{level}, up to {most:.0f} times uniform"))
    return tiles


def main() -> None:
    photos = [PHOTOS / f"{name}.jpg" for name in NAMES]
    with Client() as client:
        columns = [column(p, client.predict(p, return_attention=True)) for p in photos]
    size = (len(NAMES) * (WIDTH + GAP) - GAP, len(columns[0]) * (HEIGHT + TEXT))
    sheet = Image.new("RGB", size, "white")
    for x, tiles in enumerate(columns):
        for y, each in enumerate(tiles):
            sheet.paste(each, (x * (WIDTH + GAP), y * (HEIGHT + TEXT)))
    sheet.save(ROOT / "docs" / "overlays.jpg", quality=88)


if __name__ == "__main__":
    main()
