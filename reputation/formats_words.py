"""Words of the sources: threat types and times. Pure tables; a word that no row knows maps to one named value."""

from __future__ import annotations

from datetime import UTC, datetime

from toc.verdict import ThreatType

_THREATS = {
    "malware_download": ThreatType.MALWARE,
    "malware": ThreatType.MALWARE,
    "malicious-activity": ThreatType.MALWARE,
    "payload": ThreatType.MALWARE,
    "payload delivery": ThreatType.MALWARE,
    "exploit": ThreatType.MALWARE,
    "ransomware": ThreatType.MALWARE,
    "phishing": ThreatType.PHISHING,
    "phish": ThreatType.PHISHING,
    "credential-harvesting": ThreatType.PHISHING,
    "botnet_cc": ThreatType.C2,
    "c2": ThreatType.C2,
    "c&c": ThreatType.C2,
    "command-and-control": ThreatType.C2,
    "network activity": ThreatType.C2,
    "scam": ThreatType.SCAM,
    "fraud": ThreatType.SCAM,
    "financial fraud": ThreatType.SCAM,
    "spam": ThreatType.SPAM,
    "pup": ThreatType.UNWANTED,
    "adware": ThreatType.UNWANTED,
    "unwanted": ThreatType.UNWANTED,
    "compromised": ThreatType.ABUSED,
    "hacked": ThreatType.ABUSED,
}


def threat_of(word: str, default: ThreatType) -> ThreatType:
    """What a source's own word means; `default` where it says nothing, OTHER where it says what we do not know."""
    word = word.strip().lower()
    return _THREATS.get(word, ThreatType.OTHER) if word else default


def expiry(text: str) -> int | None:
    """Epoch seconds of an ISO 8601 time (UTC where no zone is named); None for none and for what is no time."""
    try:
        time = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return int((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp())
