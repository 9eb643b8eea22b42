"""The pages that a recipient sees. Knows words, languages and templates; knows no link, no list, no request.

Every page is inert: the target's URL stands on it as text, never as something to click by accident. It works without script,
without cookies and without its stylesheet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from babel.messages.pofile import read_po
from jinja2 import Environment, FileSystemLoader, PackageLoader, StrictUndefined, Template, TemplateError

from redirector.branding import DEFAULT_COLOUR, Branding
from redirector.negotiate import LANGUAGES, RIGHT_TO_LEFT, negotiate
from redirector.words import LABELS, REASONS, TEXTS, TITLES, Page
from toc.errors import ConfigError
from toc.url import unicode_host

STATUS: Mapping[Page, int] = {
    Page.BLOCKED: 403,
    Page.WARNING: 200,
    Page.UNCHECKED: 200,
    Page.REVOKED: 410,
    Page.DAMAGED: 404,
    Page.NOT_SENT: 200,
    Page.PREVIEW: 200,
    Page.REPORTED: 200,
    Page.ROOT: 200,
    Page.RATE_LIMITED: 429,
    Page.OVERLOADED: 503,
    Page.SUNSET: 200,
}

_STRICT = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'"
_POLICIES: Mapping[bool, bytes] = {
    # Browsers hold form-action against the redirect that follows our own POST, so it must admit every web target.
    True: f"{_STRICT}; form-action 'self' https: http:".encode(),
    False: f"{_STRICT}; form-action 'none'".encode(),
}
_WITH_BUTTONS = frozenset({Page.BLOCKED, Page.WARNING, Page.UNCHECKED, Page.NOT_SENT, Page.SUNSET})
_PROCEED = {
    Page.WARNING: "proceed",
    Page.UNCHECKED: "proceed",
    Page.NOT_SENT: "open",
    Page.SUNSET: "go_on",
}
_REPORTABLE = frozenset({Page.BLOCKED, Page.WARNING, Page.UNCHECKED})
_TONE = {
    Page.BLOCKED: "stop",
    Page.REVOKED: "stop",
    Page.WARNING: "doubt",
    Page.UNCHECKED: "doubt",
    Page.NOT_SENT: "doubt",
    Page.SUNSET: "doubt",
}


@dataclass(frozen=True, slots=True)
class Story:
    """What one page tells.

    host:        ASCII host of the target; domain: its registrable domain
    reasons:     codes of `redirector.words.REASONS`
    reference:   click id, that staff can look up
    action_path: ``HOST/TOKEN`` of this link, for relative URLs; never built from the Host header
    nonce:       empty where the page has no buttons
    """

    page: Page
    url: str = ""
    other: str | None = None
    host: str = ""
    domain: str = ""
    reasons: tuple[str, ...] = ()
    level: str = ""
    reference: str = ""
    silent: tuple[str, ...] = ()
    nonce: str = ""
    action_path: str = ""


class Renderer:
    """All templates and catalogues, loaded and tried once at start."""

    def __init__(self, branding: Branding) -> None:
        self._branding = branding
        self._catalogues = {language: load_catalogue(language) for language in LANGUAGES}
        self._template = _template(branding)

    def render(self, story: Story, accept_language: str, chosen: str | None) -> bytes:
        """The whole page, UTF-8."""
        language = chosen or negotiate(accept_language)
        words = self._catalogues[language]
        return self._template.render(self._facts(story, language, words)).encode()

    def _facts(self, story: Story, language: str, words: Mapping[str, str]) -> dict[str, Any]:
        def say(text: str) -> str:
            return words.get(text) or text

        shown = unicode_host(story.host)
        cut = len(shown) - len(unicode_host(story.domain))
        return {
            "story": story,
            "page": story.page.value,
            "tone": _TONE.get(story.page, "calm"),
            "language": language,
            "direction": "rtl" if language in RIGHT_TO_LEFT else "ltr",
            "languages": LANGUAGES,
            "title": say(TITLES[story.page]),
            "text": say(TEXTS[story.page]),
            "label": {name: say(text) for name, text in LABELS.items()},
            "reasons": [say(REASONS[code]) for code in dict.fromkeys(story.reasons) if code in REASONS],
            "verdict": say(REASONS[story.level]) if story.level in REASONS else "",
            "host_head": shown[:cut] if cut > 0 else "",
            "host_domain": shown[cut:] if cut > 0 else shown,
            "latin": story.host if shown != story.host else "",
            "buttons": bool(story.nonce) and story.page in _WITH_BUTTONS,
            "proceed": _PROCEED.get(story.page, ""),
            "reportable": story.page in _REPORTABLE,
            "branding": self._branding,
            "own_text": self._branding.texts.get(language, ""),
            "up": "../../" if story.action_path else "",
        }

    def static_files(self) -> dict[str, tuple[bytes, bytes]]:
        """Name → content type and body of what pages load, with the operator's colour and logo."""
        branding = self._branding
        style = (files("redirector") / "static" / "page.css").read_text("utf-8")
        found = {"page.css": (b"text/css; charset=utf-8", style.replace(DEFAULT_COLOUR, branding.colour).encode())}
        if branding.logo is not None:
            found[branding.logo_name] = branding.logo
        return found

    def headers(self, page: Page) -> tuple[tuple[bytes, bytes], ...]:
        return _HEADERS[page in _WITH_BUTTONS]


_HEADERS = {
    buttons: (
        (b"content-type", b"text/html; charset=utf-8"),
        (b"cache-control", b"no-store"),
        (b"referrer-policy", b"no-referrer"),
        (b"x-content-type-options", b"nosniff"),
        (b"x-robots-tag", b"noindex"),
        (b"content-security-policy", policy),
    )
    for buttons, policy in _POLICIES.items()
}


def _environment(loader: Any) -> Environment:
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def _template(branding: Branding) -> Template:
    """The built-in page, or the operator's own. Raises ConfigError where that one breaks, saying where."""
    built_in = _environment(PackageLoader("redirector", "templates"))
    if branding.templates is None:
        return built_in.get_template("page.html")
    try:
        own = _environment(FileSystemLoader(branding.templates)).get_template("page.html")
        renderer = Renderer.__new__(Renderer)
        renderer._branding = branding
        for page in Page:
            story = Story(
                page, "https://e.example/", None, "e.example", "e.example", ("untested",), "untested", "0" * 32
            )
            own.render(renderer._facts(story, "en", {}))
    except TemplateError as error:
        line = getattr(error, "lineno", None)
        raise ConfigError(f"[pages] templates {branding.templates}/page.html line {line}: {error}") from None
    return own


def load_catalogue(language: str) -> dict[str, str]:
    """English text → text in `language`, from the committed catalogue; nothing for English itself."""
    if language == "en":
        return {}
    path = files("redirector") / "locale" / language.replace("-", "_") / "LC_MESSAGES" / "redirector.po"
    if not path.is_file():
        return {}
    with path.open("rb") as file:
        catalogue = read_po(file, locale=language.replace("-", "_"))
    return {str(message.id): str(message.string) for message in catalogue if message.id and message.string}
