"""Schemes that are not http(s): which are neutralised, which are kept. A table; unknown ones are kept and counted."""

from __future__ import annotations

from collections.abc import Mapping

from toc.link import Keep, Neutralise

DANGEROUS: Mapping[str, str] = {
    "file": "opens a path of the reader's machine or, as file://host/, of a stranger's server",
    "googlechrome": "hands a web URL to another browser, past us",
    "googlechromes": "the same for https",
    "intent": "Android: may carry a browser fallback URL",
    "javascript": "runs a script",
    "livescript": "runs a script in old clients",
    "microsoft-edge": "hands a web URL to Edge, past us",
    "ms-msdt": "ran code through the diagnostic tool (CVE-2022-30190)",
    "ms-office": "opens a remote document",
    "search-ms": "shows a remote folder as search results",
    "search": "the older name of search-ms",
    "vbscript": "runs a script in old clients",
    "view-source": "opens the URL behind it",
    "x-safari-http": "hands a web URL to Safari, past us",
    "x-safari-https": "the same for https",
}
"""Scheme → why a click on it is dangerous."""

OFFICE = frozenset(
    {
        "ms-access", "ms-excel", "ms-infopath", "ms-powerpoint", "ms-project", "ms-publisher", "ms-spd", "ms-visio",
        "ms-word", "onenote", "ms-onenote",
    }
)  # fmt: skip
"""Office URI schemes: ``ms-word:ofe|u|https://…`` opens a remote document."""

HARMLESS = frozenset(
    {"about", "cid", "ftp", "geo", "mailto", "mid", "sip", "sips", "sms", "tel", "webcal", "xmpp", "facetime", "callto"}
)
_ACTIVE_DATA = ("text/html", "image/svg+xml", "application/xhtml+xml", "text/xml", "application/xml")


def scheme_fate(scheme: str, url: str) -> Keep | Neutralise:
    """What becomes of a URL that is not http(s). `scheme` in lower case without the colon, `url` decoded."""
    if scheme in DANGEROUS or scheme in OFFICE:
        return Neutralise("scheme_dangerous")
    if scheme == "data":
        kind = url.partition(":")[2].lstrip().lower()
        if kind.startswith(_ACTIVE_DATA):
            return Neutralise("scheme_dangerous")
    if scheme in HARMLESS:
        return Keep("scheme")
    return Keep("scheme_unknown")
