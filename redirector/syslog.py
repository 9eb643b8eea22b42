"""Syslog messages (RFC 5424) and their frames on a stream (RFC 6587 and 5425: octet counting). Pure.

<134>1 2026-11-24T09:00:00.000Z gate.example toc - click - CEF:0|…
"""

from __future__ import annotations

from collections.abc import Mapping

FACILITY = 16
"""local0 (RFC 5424, table 1)."""

SEVERITY: Mapping[str, int] = {
    "safe": 6, "untested": 6, "suspicious": 5, "highly_suspicious": 4, "dangerous": 4,
}  # fmt: skip
"""Level → informational, notice, warning (RFC 5424, table 2)."""

ALERT = 1
"""Severity of an alert: action must be taken."""

HOST_MAX = 255
NIL = "-"


def message(text: str, *, time: str, host: str, kind: str, severity: int) -> bytes:
    """One message. `time`: RFC 3339 with at most microseconds; `kind`: the MSGID; `text`: one line, UTF-8 without a mark.

    RFC 5424 asks for a byte order mark before UTF-8 only where the sender must declare it (section 6.4, MSG-ANY needs none);
    collectors that show it as three odd characters are common.
    """
    head = f"<{FACILITY * 8 + severity}>1 {time} {_name(host)} toc {NIL} {kind} {NIL} "
    return head.encode("ascii") + text.encode("utf-8", "replace")


def framed(content: bytes) -> bytes:
    return b"%d %s" % (len(content), content)


def _name(host: str) -> str:
    """PRINTUSASCII, at most 255."""
    return "".join(c for c in host if "!" <= c <= "~")[:HOST_MAX] or NIL
