"""How values of others are shown: inert, with nothing hidden in them. Pure; knows no page.

Everything that comes from a mail, a URL or a browser passes through `shown`: its own direction, and each character that
could hide or reorder text replaced by its number. Jinja escapes the rest.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import datetime
from zoneinfo import ZoneInfo

from markupsafe import Markup, escape

from toc.hiding import HIDING
from toc.url import unicode_host

_FORMATTING = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\U000e0000-\U000e0fff]"
)

MASK = "•••"


def shown(text: object) -> Markup:
    """`text` in an element of its own direction; hidden characters as their numbers."""
    parts: list[Markup] = []
    place = 0
    plain = str(text)
    for found in HIDING.finditer(plain):
        parts.append(escape(plain[place : found.start()]))
        parts.append(Markup('<span class="odd" title="{}">U+{:04X}</span>').format(_name(found[0]), ord(found[0])))
        place = found.end()
    parts.append(escape(plain[place:]))
    return Markup("<bdi>{}</bdi>").format(Markup("").join(parts))


def cleaned(text: str) -> str:
    """What somebody typed or pasted, without what only hides or reorders text: it goes back into the field it came from."""
    return _FORMATTING.sub("", text).strip()


def cleaned_lines(text: str) -> str:
    """The same for a text of several lines, which stay as many."""
    return "\n".join(map(cleaned, text.split("\n")))


def _name(character: str) -> str:
    return unicodedata.name(character, "control character")


def masked(url: str) -> str:
    """The URL with the values of its query and its fragment hidden: they may be live secrets."""
    whole, hash_mark, _ = url.partition("#")
    head, mark, query = whole.partition("?")
    return head + mark + "&".join(map(_without_value, query.split("&"))) + (f"#{MASK}" if hash_mark else "")


def bare(url: str) -> str:
    """The URL without query and fragment."""
    return url.partition("#")[0].partition("?")[0]


def _without_value(part: str) -> str:
    """``name=•••``; a part without a name may itself be the secret."""
    name, equals, _ = part.partition("=")
    return f"{name}={MASK}" if equals else MASK if part else ""


def refanged(text: str) -> str:
    """The address that a defanged one stands for: ``hxxps``, ``[.]``, ``(dot)``, ``[:]`` as reports write them."""
    text = re.sub(r"\A(\s*)h(?:xx|\*\*|__)p", r"\1http", text, flags=re.IGNORECASE)
    text = re.sub(r"[\[({]\s*(?:\.|dot)\s*[\])}]", ".", text, flags=re.IGNORECASE)
    return re.sub(r"[\[({]\s*(:|://|/|@)\s*[\])}]", r"\1", text)


def reader_host(host: str) -> str:
    """A punycode host as people read it; empty where that is the same."""
    readable = unicode_host(host)
    return readable if readable != host else ""


def local(moment: datetime, zone: ZoneInfo) -> str:
    return moment.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S")


def moment_of(value: datetime | str) -> datetime:
    return value if isinstance(value, datetime) else datetime.fromisoformat(value)


def field_time(text: str, zone: ZoneInfo) -> str:
    """A filter's time as a form field can hold it (``2026-11-24T09:00``), in `zone`; empty where it is none."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return ""
    there = (moment.astimezone(zone) if moment.tzinfo else moment).replace(tzinfo=None)
    return there.isoformat(timespec="seconds" if there.second else "minutes")


def when(value: datetime | str, zone: ZoneInfo) -> Markup:
    """A time in the viewer's zone, with UTC on hover."""
    moment = moment_of(value)
    utc = local(moment, ZoneInfo("UTC"))
    return Markup('<time datetime="{}Z" title="{} UTC">{}</time>').format(
        utc.replace(" ", "T"), utc, local(moment, zone)
    )
