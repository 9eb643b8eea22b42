"""Characters that could hide, reorder or break text of others, and such text with them made visible. Pure."""

from __future__ import annotations

import re

HIDING = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0d\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U000e0000-\U000e0fff\ud800-\udfff]"
)
"""Controls, bidi marks and overrides, zero-width and other default-ignorable characters (Unicode 15, DerivedCoreProperties),
and lone surrogates, which no page and no file can carry. Not the two that choose between text and emoji."""


def inert(text: object) -> str:
    """`text` with each such character as its number: one line, read in the order in which it is written."""
    return HIDING.sub(lambda found: f"[U+{ord(found[0]):04X}]", str(text))


def defanged(text: str) -> str:
    """What can be pasted anywhere without becoming a link: ``hxxps://evil[.]example/``."""
    scheme, mark, rest = inert(text).partition("://")
    if not mark:
        return scheme.replace(".", "[.]").replace("@", "[@]")
    host, slash, tail = rest.partition("/")
    return f"{scheme.replace('tt', 'xx', 1)}://{host.replace('.', '[.]')}{slash}{tail}"
