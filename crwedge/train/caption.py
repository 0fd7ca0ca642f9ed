"""Words below a picture."""

from __future__ import annotations

import textwrap

from PIL import Image, ImageDraw, ImageFont

CAPTION = (
    "Left: a view of a frame with a few marked cells. Right: the next views of the clip. The cells that the walk most likely "
    "reaches from a marked cell have its colour; brighter is more likely. A good encoder marks the same parts of the scene."
)
_SIZE, _MARGIN = 12, 6


def captioned(image: Image.Image, text: str) -> Image.Image:
    """An RGB picture above its caption, black on white; wrapped to the picture's width."""
    font = ImageFont.load_default(_SIZE)
    columns = max(20, int((image.width - 2 * _MARGIN) / font.getlength("n")))
    words = textwrap.fill(text, columns)
    height = (words.count("\n") + 1) * (_SIZE + 4) + 2 * _MARGIN
    page = Image.new("RGB", (image.width, image.height + height), "white")
    page.paste(image, (0, 0))
    ImageDraw.Draw(page).multiline_text((_MARGIN, image.height + _MARGIN), words, "black", font, spacing=2)
    return page
