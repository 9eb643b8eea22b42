"""The words of the pages in English, from which translations start. A page or code without words fails a test."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


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
    Page.BLOCKED: "This page is blocked",
    Page.WARNING: "Stop and look: is this really where you want to go?",
    Page.UNCHECKED: "This link could not be checked",
    Page.REVOKED: "This link was withdrawn",
    Page.DAMAGED: "This link is damaged",
    Page.NOT_SENT: "What you typed was not sent",
    Page.PREVIEW: "Where this link leads",
    Page.REPORTED: "Thank you, your report was sent",
    Page.ROOT: "Protected links",
    Page.RATE_LIMITED: "Too many requests",
    Page.OVERLOADED: "One moment, please",
    Page.SUNSET: "This link is no longer checked",
}

TEXTS: Mapping[Page, str] = {
    Page.BLOCKED: "The link in your mail leads to a page that is known to be harmful. It was not opened.",
    Page.WARNING: "The link in your mail leads to the site below. We have doubts about it. Go on only if you know this site "
    "and expected this mail.",
    Page.UNCHECKED: "We could not check the site below just now. Go on only if you know it and expected this mail, or try "
    "again later.",
    Page.REVOKED: "Your organisation withdrew this link. It cannot be opened any more.",
    Page.DAMAGED: "Part of the link is missing or was changed. Copy the whole link from your mail and try again, or open the "
    "mail in another program.",
    Page.NOT_SENT: "A form inside a mail tried to send what you typed to the site below. That is a common trick, so nothing "
    "was sent, kept or passed on. If you need this form, open it on the site itself.",
    Page.PREVIEW: "Nothing was opened. This is what is known about the link.",
    Page.REPORTED: "Your security staff can see the link and your report. You need to do nothing more.",
    Page.ROOT: "Links in mails lead through this address, so that each one is checked at the moment you click it.",
    Page.RATE_LIMITED: "Too many links from your network could not be read. Wait a minute and try again.",
    Page.OVERLOADED: "Very many people are clicking right now. Try again in a few seconds.",
    Page.SUNSET: "The service that checked this link has ended. The site below was not checked. Go on only if you know it and "
    "expected this mail.",
}

REASONS: Mapping[str, str] = {
    "phishing": "It is known for stealing passwords or payment data.",
    "malware": "It is known for spreading harmful software.",
    "c2": "It is known for controlling infected computers.",
    "scam": "It is known for fraud.",
    "spam": "It is known from unwanted mass mail.",
    "unwanted": "It is known for unwanted software or advertising.",
    "abused": "It belongs to an honest owner, but was broken into.",
    "suspicious_object": "Your organisation put it on its list of suspicious sites.",
    "other": "It stands on a list of harmful sites.",
    "lookalike": "Its name looks like a well-known one, but is not it.",
    "userinfo": "The link puts a false name before the real site.",
    "obfuscated_ip": "The link hides its address in an unusual spelling.",
    "mixed_script": "Its name mixes letters of different alphabets that look alike.",
    "first_seen": "Nobody here has received a link to it before.",
    "text_differs": "The text of the link showed another site.",
    "hidden_wrapper": "Another service hides where the link finally leads.",
    "open_redirector": "It passes visitors on to another site.",
    "free_hosting": "Anybody can publish pages there without giving a name.",
    "odd_port": "It uses an unusual port.",
    "punycode": "Its name is written in other letters than the Latin ones.",
    "approved": "Your organisation approved it.",
    "safe": "Your organisation approved it.",
    "untested": "No list knows it.",
    "suspicious": "Several signs together speak against it.",
    "highly_suspicious": "Many signs together speak against it.",
    "dangerous": "It stands on a list of dangerous sites.",
    "source_silent": "A source that we rely on did not answer.",
    "link_old": "The link is older than your organisation allows.",
    "fan_out": "The same link was opened from unusually many networks.",
    "record_lost": "Your click could not be recorded just now.",
    "revoked": "Your organisation withdrew it.",
    "store_needed": "The place where this link is kept does not answer just now.",
}

LABELS: Mapping[str, str] = {
    "site": "The site",
    "address": "Full address",
    "other": "It may also mean",
    "why": "Why you see this page",
    "silent": "These sources did not answer",
    "proceed": "Open this site anyway",
    "open": "Open the form's page",
    "go_on": "Open this site",
    "report": "Report this link",
    "preview": "Show more about this link",
    "close": "The safe choice: close this page.",
    "ask": "Questions? Ask",
    "reference": "Reference",
    "recorded": "Recorded are the time, the link, your network address and what you choose here. "
    "Only your security staff see it.",
    "language": "Language",
    "latin": "In Latin letters",
    "verdict": "Result",
}
