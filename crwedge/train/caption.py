"""Words below a picture."""

from __future__ import annotations

import textwrap

from PIL import Image, ImageDraw, ImageFont

CAPTION = (
    "Left: a view of a frame with a few framed cells. Right of it: the next views of the clip, with the cells that the walk "
    "reaches from them in the same colour, the brighter the likelier. A good encoder reaches the same parts of the scene."
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
