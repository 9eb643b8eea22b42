"""The pages that a recipient sees. Knows words, languages and templates; knows no link, no list, no request.

Every page is inert: the target's URL stands on it as text, never as something to click by accident. It works without
script, without cookies and without its stylesheet. Of the ways to warn, those that lead the eye to the host of the link
itself work best (Petelka, Zou, Schaub: "Put Your Warning Where Your Link Is", CHI 2019): so the host is the largest
thing on the page, and the button that leads on bears its name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any
from zlib import crc32

from babel.messages.pofile import read_po
from jinja2 import (
    BaseLoader,
    ChoiceLoader,
    Environment,
    FileSystemLoader,
    PackageLoader,
    PrefixLoader,
    StrictUndefined,
    Template,
    TemplateError,
)
from markupsafe import Markup

from redirector.branding import DEFAULT_COLOUR, Branding
from redirector.headers import SAFETY_HEADERS
from redirector.negotiate import LANGUAGES, RIGHT_TO_LEFT, negotiate
from redirector.words import LABELS, REASONS, TEXTS, TITLES, UNKNOWN_TARGET, Page
from toc.errors import ConfigError
from toc.url import unicode_host


@dataclass(frozen=True, slots=True)
class Story:
    """What one page tells.

    url, other:  both readings of the link, serialised
    host:        ASCII host of the target; empty where no target is known
    domain:      its registrable domain
    reasons:     codes of `redirector.words.REASONS`
    level:       code of the verdict's level
    reference:   click id, that staff can look up; empty where nothing was recorded
    silent:      names of the sources that did not answer
    nonce:       empty where the page has no buttons
    action_path: ``HOST/TOKEN`` of this link, for relative URLs; never built from the Host header
    root:        relative URL from the requested path up to our base URL; None: that of ``/u/HOST/TOKEN``
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
    root: str | None = None


@dataclass(frozen=True, slots=True)
class _Kind:
    """What sets one page apart from the others.

    status:  where nothing else is said (RFC 9110 section 15)
    tone:    colour and sign
    proceed: label of the button that leads on, if there is one
    report:  there is a button to report the link
    posted:  may answer a POST, so that a GET of the same address may forward
    """

    status: int
    tone: str = "calm"
    proceed: str = ""
    report: bool = False
    posted: bool = False


KINDS: Mapping[Page, _Kind] = {
    Page.BLOCKED: _Kind(403, "stop", report=True),
    Page.WARNING: _Kind(200, "doubt", "proceed", report=True),
    Page.UNCHECKED: _Kind(200, "doubt", "proceed", report=True),
    Page.REVOKED: _Kind(410, "stop"),
    Page.DAMAGED: _Kind(404, "doubt"),
    Page.NOT_SENT: _Kind(200, "doubt", "open", report=True, posted=True),
    Page.PREVIEW: _Kind(200, report=True),
    Page.REPORTED: _Kind(200, "good", posted=True),
    Page.ROOT: _Kind(200),
    Page.RATE_LIMITED: _Kind(429),
    Page.OVERLOADED: _Kind(503),
    Page.SUNSET: _Kind(200, "doubt", "proceed"),
}
STATUS: Mapping[Page, int] = {page: kind.status for page, kind in KINDS.items()}

_LEVEL_TONES = {"safe": "good", "suspicious": "doubt", "highly_suspicious": "stop", "dangerous": "stop"}
"""The preview takes its tone from the level."""


def _policy(kind: _Kind) -> bytes:
    """Content-Security-Policy (CSP level 3): nothing but our stylesheet, pictures and buttons."""
    # Browsers hold form-action against the redirect that follows our own POST, so it must admit every web target.
    forms = "'self' https: http:" if kind.proceed else "'self'" if kind.report else "'none'"
    return (
        "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'; "
        f"form-action {forms}"
    ).encode()


_HEADERS: Mapping[Page, tuple[tuple[bytes, bytes], ...]] = {
    page: (
        (b"content-type", b"text/html; charset=utf-8"),
        *SAFETY_HEADERS,
        (b"content-security-policy", _policy(kind)),
    )
    for page, kind in KINDS.items()
}


class Renderer:
    """All templates and catalogues, loaded and tried once at start.

    refused: why the operator's own template does not serve, so that the built-in one does; None where all is well
    """

    def __init__(self, branding: Branding) -> None:
        self._branding = branding
        self._static = _static_files(branding)
        version = f"{crc32(b''.join(body for _, body in self._static.values())):08x}"
        self._stock = {
            (language, page): _stock(branding, language, page, words, version)
            for language, words in ((language, load_catalogue(language)) for language in LANGUAGES)
            for page in Page
        }
        self._built_in = _environment(PackageLoader("redirector", "templates")).get_template("page.html")
        self._own: Template | None = None
        self.refused: ConfigError | None = None
        if branding.templates is not None:
            try:
                self._own = self._tried(branding)
            except ConfigError as error:
                self.refused = error

    def render(self, story: Story, accept_language: str, chosen: str | None) -> bytes:
        """The whole page, UTF-8.

        accept_language: the request's field, empty where it has none
        chosen:          a language of `LANGUAGES` that the reader asked for
        """
        facts = self._facts(story, chosen or negotiate(accept_language), f"?lang={chosen}" if chosen else "")
        if self._own is not None:
            try:
                return self._own.render(facts).encode()
            except Exception:  # whatever a template of others runs into: the reader gets a page
                return self._built_in.render(facts).encode()
        return self._built_in.render(facts).encode()

    @property
    def contact_url(self) -> str:
        """Empty where the operator's contact is none that could be opened."""
        return self._branding.contact_url

    def headers(self, page: Page) -> tuple[tuple[bytes, bytes], ...]:
        return _HEADERS[page]

    def static_files(self) -> dict[str, tuple[bytes, bytes]]:
        """Name below ``static/`` → content type and body of what pages load, with the operator's colour and logo."""
        return self._static

    def _facts(self, story: Story, language: str, query: str) -> dict[str, Any]:
        """Everything that a template may name (docs/branding.md)."""
        stock = self._stock[language, story.page]
        facts = {**stock, "story": story, "query": query, "root": "../../" if story.root is None else story.root}
        if story.page is Page.PREVIEW:
            facts["tone"] = _LEVEL_TONES.get(story.level, "calm")
        if story.page is Page.UNCHECKED and not story.host:
            facts["text"] = stock["unknown_target"]
        reasons = stock["reasons"]
        # A code without words must not leave the reader without a reason: the level has words.
        known = [reasons[code] for code in dict.fromkeys(story.reasons) if code in reasons]
        facts["why"] = known or ([reasons[story.level]] if story.level in reasons else [])
        shown, domain = unicode_host(story.host), unicode_host(story.domain)
        head = shown[: -len(domain)] if domain and shown.endswith("." + domain) else ""
        facts["host_head"] = _labels(head)
        facts["host_domain"] = _labels(shown[len(head) :])
        facts["latin"] = story.host if shown != story.host else ""
        return facts

    def _tried(self, branding: Branding) -> Template:
        """The operator's own template. Raises ConfigError where it breaks on a page or leaves out what a page is for."""
        built_in = PackageLoader("redirector", "templates")
        folder = str(branding.templates)
        where = f"[pages] templates: {folder}/page.html"
        try:
            own = _environment(
                ChoiceLoader([FileSystemLoader(folder), PrefixLoader({"built-in": built_in})])
            ).get_template("page.html")
            for page in Page:
                for story in (_trial(page), Story(page)):
                    text = own.render(self._facts(story, "en", ""))
                    missing = [name for name, part in _must_show(story).items() if part not in text]
                    if missing:
                        raise ConfigError(f"{where} does not show {missing[0]} on the page {page.value!r}")
        except TemplateError as error:
            line = getattr(error, "lineno", None)
            place = f" line {line}" if line else ""
            raise ConfigError(f"{where}{place}: {error or type(error).__name__}") from None
        except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError, UnicodeError, OSError) as error:
            raise ConfigError(f"{where}: {type(error).__name__}: {error}") from None
        return own


def _stock(branding: Branding, language: str, page: Page, words: Mapping[str, str], version: str) -> dict[str, Any]:
    """What is the same on every such page in this language."""

    def say(text: str) -> str:
        return words.get(text) or text

    kind = KINDS[page]
    before, _, after = say(LABELS[kind.proceed]).partition("{host}") if kind.proceed else ("", "", "")
    return {
        "page": page.value,
        "tone": kind.tone,
        "language": language,
        "direction": "rtl" if language in RIGHT_TO_LEFT else "ltr",
        "languages": LANGUAGES,
        "title": say(TITLES[page]),
        "text": say(TEXTS[page]),
        "unknown_target": say(UNKNOWN_TARGET),
        "label": {name: say(text) for name, text in LABELS.items()},
        "reasons": {code: say(text) for code, text in REASONS.items()},
        "proceed": (before, after) if kind.proceed else None,
        "report": kind.report,
        "posted": kind.posted,
        "branding": branding,
        "own_text": branding.texts.get(language, ""),
        "version": version,
    }


def _labels(host: str) -> Markup:
    """A host that may break after its dots. Each label is isolated, so that right-to-left ones keep their places."""
    return Markup(".<wbr>").join(Markup("<bdi>{}</bdi>").format(part) if part else "" for part in host.split("."))


def _trial(page: Page) -> Story:
    """A page with everything on it."""
    kind = KINDS[page]
    return Story(
        page,
        url="https://sub.trial.example/path?a=1&b=2",
        other="https://sub.trial.example/",
        host="sub.trial.example",
        domain="trial.example",
        reasons=tuple(REASONS),
        level="suspicious",
        reference="0123456789abcdef",
        silent=("a source",),
        nonce="the-nonce" if kind.proceed or kind.report else "",
        action_path="sub.trial.example/token",
    )


def _must_show(story: Story) -> dict[str, str]:
    parts = {"the URL": story.url.replace("&", "&amp;"), "the nonce": story.nonce}
    if story.page is not Page.PREVIEW:
        parts["the reference"] = story.reference
    return {name: part for name, part in parts.items() if part}


def _static_files(branding: Branding) -> dict[str, tuple[bytes, bytes]]:
    folder = files("redirector") / "static"
    style = (folder / "page.css").read_text("utf-8").replace(DEFAULT_COLOUR, branding.colour)
    icon = (folder / "icon.svg").read_text("utf-8").replace(DEFAULT_COLOUR, branding.colour)
    found = {
        "page.css": (b"text/css; charset=utf-8", style.encode()),
        "icon.svg": (b"image/svg+xml", icon.encode()),
    }
    if branding.logo is not None:
        found[branding.logo_name] = branding.logo
    return found


def _environment(loader: BaseLoader) -> Environment:
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def load_catalogue(language: str) -> dict[str, str]:
    """English text → text in `language`, from the committed catalogue; nothing for English itself.

    Read as it was written, so that there is no compiled file to forget; uncertain ("fuzzy") translations don't count.
    """
    if language == "en":
        return {}
    name = language.replace("-", "_")
    path = files("redirector") / "locale" / name / "LC_MESSAGES" / "redirector.po"
    with path.open("rb") as file:
        catalogue = read_po(file, locale=name)
    return {
        str(message.id): str(message.string)
        for message in catalogue
        if message.id and message.string and not message.fuzzy
    }
