"""The page's files: their size, that they load nothing from elsewhere, and the contrast of their colours."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

import pytest

ASSETS = Path(__file__).parents[2] / "runtime/web/assets"
MOST = 300_000
TEXT = (
    ("ink", ("ground", "surface", "raised", "accent-soft")),
    ("muted", ("ground", "surface", "raised", "accent-soft")),
    ("accent-ink", ("surface", "accent-soft")),
    ("on-accent", ("accent-fill", "accent-hover")),
    ("good", ("surface", "raised", "accent-soft")),
    ("warn", ("surface", "raised", "accent-soft")),
    ("bad", ("surface", "raised", "bad-soft", "accent-soft")),
    ("surface", ("bad",)),
)
"""Colours of words, and what they stand on: 4.5 to 1 (WCAG 2.2, 1.4.3)."""
PARTS = (
    ("control", ("ground", "surface", "accent-soft")),
    ("accent-fill", ("surface", "accent-soft", "line")),
    ("focus", ("ground", "surface", "raised", "stage", "accent-soft")),
    ("warn", ("stage",)),
)
"""Colours of controls and of what is drawn: 3 to 1 (1.4.11)."""


def test_the_files_are_small() -> None:
    assert sum(path.stat().st_size for path in ASSETS.iterdir()) < MOST


def test_nothing_is_loaded_from_other_hosts_and_nothing_is_inline() -> None:
    for path in ASSETS.iterdir():
        text = path.read_text()
        addresses = set(re.findall(r"\b(?:https?:)?//[\w.-]+\.\w+[^\s\"']*", text)) - {"http://www.w3.org/2000/svg"}
        assert not addresses, f"{path.name}: {addresses}"
    page = (ASSETS / "index.html").read_text()
    assert not re.search(r"\sstyle=|\son\w+=|<style|<script(?![^>]*\bsrc=)", page)


def test_every_file_and_icon_that_is_named_exists() -> None:
    texts = {path.name: path.read_text() for path in ASSETS.iterdir()}
    named = {name for text in texts.values() for name in re.findall(r"/assets/([\w.-]+)", text)}
    assert named <= set(texts)
    assert set(texts) - named == {"index.html"}, "a file that nothing names"
    icons = set(re.findall(r'<symbol id="i-([\w-]+)"', texts["index.html"]))
    used = set(re.findall(r'href="#i-([\w-]+)"', texts["index.html"]))
    assert used <= icons


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_contrast(theme: str) -> None:
    colours = tokens()[theme]
    low = []
    for pairs, least in ((TEXT, 4.5), (PARTS, 3.0)):
        for front, backs in pairs:
            for one, back in product([front], backs):
                ratio = contrast(colours[one], colours[back])
                if ratio < least:
                    low.append(f"{one} on {back}: {ratio:.2f} < {least}")
    assert not low, low


def test_contrast_is_computed_as_wcag_says() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


def tokens() -> dict[str, dict[str, str]]:
    """The colours of tokens.css, of both themes."""
    found = re.findall(r"--([\w-]+): light-dark\((#\w{6}), (#\w{6})\);", (ASSETS / "tokens.css").read_text())
    assert len(found) > 15
    return {"light": {name: light for name, light, _ in found}, "dark": {name: dark for name, _, dark in found}}


def contrast(a: str, b: str) -> float:
    """Contrast ratio of two colours, 1 to 21 (WCAG 2.2)."""
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    """Relative luminance of `#rrggbb`, 0 to 1."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
