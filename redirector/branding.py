"""What the operator puts on the pages: name, logo, colour, contact, a line of text, own templates. Checked at start."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from redirector.negotiate import LANGUAGES
from toc.config import Config
from toc.errors import ConfigError

MAX_LOGO = 65_536
MIN_CONTRAST = 4.5
"""WCAG 2.2, 1.4.3: white text on the colour of the page's head must be readable."""

DEFAULT_COLOUR = "#20344a"
_MAIL_ADDRESS = re.compile(r"[A-Za-z0-9._+-]+@[A-Za-z0-9.-]+\Z")
_UNSAFE_SVG = re.compile(
    rb"<script|<foreignobject|<!entity|<!doctype[^>]*\[|\son\w+\s*=|javascript:|href\s*=\s*[\"']?\s*(?:https?:)?//",
    re.IGNORECASE,
)
"""What an SVG may do when it is opened by itself, under our address."""

_LOGOS = {b"\x89PNG\r\n\x1a\n": (b"image/png", "logo.png")}


@dataclass(frozen=True, slots=True)
class Branding:
    """What the operator gives.

    name:      of the organisation
    contact:   whom recipients ask: an address, a number, a URL, or words
    colour:    ``#rrggbb``
    logo:      content type and bytes; logo_name: its name below ``static/``
    texts:     a line under the page's text, by language
    templates: folder with the operator's own ``page.html``
    """

    name: str = ""
    contact: str = ""
    colour: str = DEFAULT_COLOUR
    logo: tuple[bytes, bytes] | None = None
    logo_name: str = ""
    texts: Mapping[str, str] = field(default_factory=dict)
    templates: Path | None = None

    @property
    def contact_url(self) -> str:
        """What a click on the contact opens; empty where it is neither a mail address nor an https URL."""
        if self.contact.startswith("https://") and " " not in self.contact:
            return self.contact
        return f"mailto:{self.contact}" if _MAIL_ADDRESS.match(self.contact) else ""


def load_branding(config: Config) -> Branding:
    """Raises ConfigError: what is wrong with which file or value."""
    pages = config.pages
    unknown = set(pages.texts) - set(LANGUAGES)
    if unknown:
        raise ConfigError(f"[pages] texts: no language {', '.join(sorted(unknown))}; known are {', '.join(LANGUAGES)}")
    logo, logo_name = _logo(config.path(pages.logo)) if pages.logo else (None, "")
    return Branding(
        name=pages.name,
        contact=config.service.contact,
        colour=_colour(pages.colour or DEFAULT_COLOUR),
        logo=logo,
        logo_name=logo_name,
        texts=pages.texts,
        templates=config.path(pages.templates) if pages.templates else None,
    )


def _logo(path: Path) -> tuple[tuple[bytes, bytes], str]:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"[pages] logo {path}: {error.strerror}") from None
    if len(raw) > MAX_LOGO:
        raise ConfigError(f"[pages] logo {path} has {len(raw)} bytes; the limit is {MAX_LOGO}")
    for start, (kind, name) in _LOGOS.items():
        if raw.startswith(start):
            return (kind, raw), name
    if b"<svg" in raw[:2000] and not _UNSAFE_SVG.search(raw):
        return (b"image/svg+xml", raw), "logo.svg"
    raise ConfigError(f"[pages] logo {path} is neither a PNG nor an SVG without scripts, entities and foreign parts")


def _colour(text: str) -> str:
    if not re.fullmatch(r"#[0-9a-fA-F]{6}", text):
        raise ConfigError(f"[pages] colour = {text!r} must be #rrggbb")
    contrast = 1.05 / (_luminance(text) + 0.05)
    if contrast < MIN_CONTRAST:
        raise ConfigError(
            f"[pages] colour = {text!r}: white text on it has a contrast of {contrast:.1f} to 1; {MIN_CONTRAST} is needed"
        )
    return text


def _luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2)."""
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.03928 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
