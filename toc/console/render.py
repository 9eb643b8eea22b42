"""Templates, languages and static files of the console. Knows no request, no query."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Any
from zlib import crc32
from zoneinfo import ZoneInfo

from babel.messages.pofile import read_po
from jinja2 import Environment, PackageLoader, StrictUndefined

from redirector.negotiate import negotiate
from redirector.pages import load_catalogue as reader_catalogue
from redirector.words import REASONS
from toc.console import show
from toc.console.words import CODES, REFUSALS
from toc.hiding import defanged, inert

LANGUAGES = {"en": "English", "ja": "日本語"}
"""By their own names."""

STATIC: dict[str, str] = {
    "console.css": "text/css; charset=utf-8",
    "console.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
    "vendor/htmx.min.js": "text/javascript; charset=utf-8",
    "vendor/uplot.min.js": "text/javascript; charset=utf-8",
    "vendor/uplot.min.css": "text/css; charset=utf-8",
}


class Renderer:
    """All templates, catalogues and static files, loaded once."""

    def __init__(self) -> None:
        folder = files("toc.console") / "static"
        self.static = {name: (kind, (folder / name).read_bytes()) for name, kind in STATIC.items()}
        self.version = f"{crc32(b''.join(body for _, body in self.static.values())):08x}"
        self._environments = {language: _environment(language) for language in LANGUAGES}

    def render(self, template: str, language: str, zone: ZoneInfo, facts: Mapping[str, Any]) -> str:
        """`zone`: in which times are shown."""
        found = self._environments[language].get_template(template)
        more = {"language": language, "languages": LANGUAGES, "version": self.version, "zone": zone}
        return found.render(**more, **facts)

    def language(self, chosen: str, accept: str) -> str:
        """`chosen`: by the account or the page's switch; else what the browser asks for; else English."""
        if chosen in LANGUAGES:
            return chosen
        wanted = negotiate(accept)
        return wanted if wanted in LANGUAGES else "en"


def load_catalogue(language: str) -> dict[str, str]:
    """English text → text in `language`; nothing for English itself. Read as it was written (.po)."""
    if language == "en":
        return {}
    path = files("toc.console") / "locale" / language / "LC_MESSAGES" / "console.po"
    with path.open("rb") as file:
        catalogue = read_po(file, locale=language)
    return {
        str(message.id): str(message.string)
        for message in catalogue
        if message.id and message.string and not message.fuzzy
    }


def _environment(language: str) -> Environment:
    words = load_catalogue(language)
    say: Callable[[str], str] = lambda text: words.get(text) or text  # noqa: E731 - handed to Jinja as it is
    environment = Environment(
        loader=PackageLoader("toc.console", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    environment.install_gettext_callables(  # type: ignore[attr-defined] # added by the extension
        gettext=say, ngettext=lambda one, many, count: say(one if count == 1 else many), newstyle=True
    )
    environment.policies["ext.i18n.trimmed"] = True
    codes = {code: say(text) for code, text in {**CODES, **REFUSALS}.items()}
    reader = reader_catalogue(language)
    reasons = {code: reader.get(text) or text for code, text in REASONS.items()}
    environment.globals["word"] = lambda code: codes.get(code, code)
    environment.globals["why"] = lambda code: reasons.get(code, "")
    environment.filters |= {
        "shown": show.shown,
        "inert": inert,
        "masked": show.masked,
        "bare": show.bare,
        "defanged": defanged,
        "reader_host": show.reader_host,
        "count": lambda number: f"{number:,}",
        "when": show.when,
    }
    return environment


def zone_of(chosen: str, browser: str) -> ZoneInfo:
    """The account's zone, else the browser's, else UTC."""
    for name in filter(None, (chosen, browser)):
        try:
            return ZoneInfo(name)
        except (KeyError, ValueError, OSError):
            continue
    return ZoneInfo("UTC")
