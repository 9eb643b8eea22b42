"""The words of the pages in English, from which translations start. Knows no template, no language but this one.

`scripts/locale extract` collects everything inside `mark`. A page, label or reason without words, or a language without
its translation, fails a test.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


def mark(text: str) -> str:
    """Marks `text` for the catalogues, and leaves it as it is."""
    return text


class Page(StrEnum):
    BLOCKED = "blocked"
    WARNING = "warning"
    UNCHECKED = "unchecked"
    REVOKED = "revoked"
    DAMAGED = "damaged"
    NOT_SENT = "not_sent"
    PREVIEW = "preview"
    REPORTED = "reported"
    ROOT = "root"
    RATE_LIMITED = "rate_limited"
    OVERLOADED = "overloaded"
    SUNSET = "sunset"


TITLES: Mapping[Page, str] = {
    Page.BLOCKED: mark("This link is blocked"),
    Page.WARNING: mark("Look at the address before you go on"),
    Page.UNCHECKED: mark("This link could not be checked"),
    Page.REVOKED: mark("This link was withdrawn"),
    Page.DAMAGED: mark("This link is damaged"),
    Page.NOT_SENT: mark("What you typed was not sent"),
    Page.PREVIEW: mark("Where this link leads"),
    Page.REPORTED: mark("Thank you for your report"),
    Page.ROOT: mark("Links are checked here"),
    Page.RATE_LIMITED: mark("Too many broken links"),
    Page.OVERLOADED: mark("One moment, please"),
    Page.SUNSET: mark("This link is no longer checked"),
}

TEXTS: Mapping[Page, str] = {
    Page.BLOCKED: mark("The link in your mail leads to a site that may harm you. It was not opened."),
    Page.WARNING: mark(
        "The link in your mail leads to the site below, and something about it is not right. Go on only if you know this "
        "name and expected this mail."
    ),
    Page.UNCHECKED: mark(
        "We could not check the site below just now. Try again later, or go on only if you know this name and expected "
        "this mail."
    ),
    Page.REVOKED: mark("Your organisation withdrew this link. It can no longer be opened."),
    Page.DAMAGED: mark(
        "Part of the link is missing or was changed on the way. Go back to your mail and open the link there, or copy it "
        "whole."
    ),
    Page.NOT_SENT: mark(
        "A form inside a mail tried to send what you typed to the site below. Thieves often work this way, so nothing was "
        "sent, kept or passed on. If you need the form, fill it in on the site itself."
    ),
    Page.PREVIEW: mark("Nothing was opened. This is what we know about the link."),
    Page.REPORTED: mark("Your security staff can now see this link. There is nothing more that you need to do."),
    Page.ROOT: mark(
        "Links in mails lead through this address, so that each one is checked at the moment somebody opens it."
    ),
    Page.RATE_LIMITED: mark(
        "Many links that came from your network just now could not be read. Wait a minute and try again."
    ),
    Page.OVERLOADED: mark("Very many people are opening links right now. Try again in a few seconds."),
    Page.SUNSET: mark(
        "The service that checked this link has ended, so nobody checked the site below. Go on only if you know this name "
        "and expected this mail."
    ),
}

UNKNOWN_TARGET = mark("We could not find out just now where this link leads. Try again in a minute.")
"""In place of the text of `Page.UNCHECKED` where there is no site to show."""

REASONS: Mapping[str, str] = {
    "phishing": mark("It is known for stealing passwords or payment details."),
    "malware": mark("It is known for spreading harmful software."),
    "c2": mark("It is known for controlling infected computers."),
    "scam": mark("It is known for fraud."),
    "spam": mark("It is known from unwanted mass mail."),
    "unwanted": mark("It is known for unwanted software or advertising."),
    "abused": mark("It belongs to an honest owner, but somebody broke into it."),
    "suspicious_object": mark("Your organisation put it on its list of suspicious sites."),
    "other": mark("It is on a list of harmful sites."),
    "lookalike": mark("Its name looks like a well-known name, but it is another one."),
    "userinfo": mark("The link puts a false name in front of the real site."),
    "obfuscated_ip": mark("The link hides its address in an unusual spelling."),
    "mixed_script": mark("Its name mixes letters of different alphabets that look alike."),
    "first_seen": mark("It was first seen here less than a day ago."),
    "text_differs": mark("The mail showed the name of another site."),
    "hidden_wrapper": mark("Another service hides where the link leads in the end."),
    "open_redirector": mark("It sends visitors on to another site."),
    "free_hosting": mark("Anybody can publish pages there without giving a name."),
    "odd_port": mark("It does not use the usual port of web sites."),
    "punycode": mark("Its name is written with letters outside the English alphabet."),
    "approved": mark("Your organisation approved it."),
    "safe": mark("It is approved, and nothing speaks against it."),
    "untested": mark("Nothing is known about it, neither good nor bad."),
    "suspicious": mark("There are signs that speak against it."),
    "highly_suspicious": mark("Many signs speak against it."),
    "dangerous": mark("It is known to be dangerous."),
    "source_silent": mark("Something that we need in order to check it did not answer."),
    "link_old": mark("The link is older than your organisation allows."),
    "fan_out": mark("The same link was opened from unusually many places."),
    "record_lost": mark("Your click could not be recorded just now."),
    "revoked": mark("Your organisation withdrew it."),
    "store_needed": mark("The place where this link is kept does not answer just now."),
}
"""Reason codes of decisions (docs/reasons.md) and levels. "It" is the site."""

LABELS: Mapping[str, str] = {
    "service": mark("Link protection"),
    "site": mark("The link leads to"),
    "latin": mark("Technical spelling"),
    "address": mark("Full address"),
    "other": mark("It may also have been meant as"),
    "why": mark("Why you see this page"),
    "known": mark("What is known about it"),
    "silent": mark("No answer came from:"),
    "close": mark("If in doubt, close this page. Nothing was opened."),
    "report": mark("Report this link"),
    "proceed": mark("Open {host} anyway"),
    "open": mark("Go to {host}"),
    "preview": mark("See more about this link without opening it"),
    "again": mark("Open this link; it is checked again"),
    "ask": mark("Questions? Ask:"),
    "reference": mark("Reference:"),
    "recorded": mark(
        "What is recorded: the time, this link, your network address and what you choose here. Only your security staff "
        "can see it."
    ),
    "language": mark("Language"),
}
"""``{host}`` stands once in the labels of the buttons that lead on."""
