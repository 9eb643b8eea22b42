"""Words for the codes that pages show. `scripts/locale extract` collects everything inside `mark` and in the templates."""

from __future__ import annotations

from collections.abc import Mapping

from redirector.words import mark

CODES: Mapping[str, str] = {
    # actions
    "allow": mark("allowed"),
    "warn": mark("warned"),
    "block": mark("blocked"),
    "log": mark("log only"),
    "override": mark("override"),
    # events
    "shown": mark("page shown"),
    "forwarded": mark("forwarded"),
    "proceeded": mark("went on"),
    "reported": mark("reported"),
    # levels
    "safe": mark("safe"),
    "untested": mark("untested"),
    "suspicious": mark("suspicious"),
    "highly_suspicious": mark("highly suspicious"),
    "dangerous": mark("dangerous"),
    # who clicked
    "person": mark("a person"),
    "automated": mark("a program"),
    "uncertain": mark("not certain"),
    # outcomes of a receipt
    "rewritten": mark("rewritten"),
    "kept": mark("kept"),
    "neutralised": mark("neutralised"),
    "not_coverable": mark("not coverable"),
    # types of objects
    "url": mark("exact URL"),
    "domain": mark("domain and sub-hosts"),
    "ip": mark("address or network"),
    "file_sha1": mark("file, SHA-1"),
    "file_sha256": mark("file, SHA-256"),
    # kinds of matches
    "threat": mark("accuses"),
    "logged": mark("logged only"),
    "approved": mark("approves"),
    # roles
    "viewer": mark("viewer"),
    "analyst": mark("analyst"),
    "admin": mark("admin"),
    # what staff made of a report
    "harmful": mark("harmful"),
    "harmless": mark("harmless"),
    "unclear": mark("unclear"),
    # directions
    "inbound": mark("inbound"),
    "outbound": mark("outbound"),
    "internal": mark("internal"),
    # states of keys
    "primary": mark("seals and opens"),
    "enabled": mark("opens only"),
    "disabled": mark("off"),
}

REFUSALS: Mapping[str, str] = {
    "unauthenticated": mark("Name and password do not belong together."),
    "rate_limited": mark("Too many failed sign-ins. Wait a little, then try again."),
    "overloaded": mark("Too many sign-ins at once. Try again in a few seconds."),
    "forbidden": mark("You may not do this"),
    "not_found": mark("There is no such page"),
    "bad_request": mark("This request was not understood"),
    "invalid": mark("This was not taken"),
    "conflict": mark("This was not done"),
    "too_large": mark("This is too long"),
    "internal": mark("Something went wrong here"),
}
"""Titles of refusals, by reason code. The detail below is the service's own line, in English as in its log."""
