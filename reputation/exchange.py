"""Suspicious objects in and out of files: CSV as consoles exchange them, STIX 2.1 bundles. Pure."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from reputation.formats_stix import values
from reputation.objects import Object, ObjectAction, ObjectType, parse_object
from toc.errors import Invalid, ListError

COLUMNS = ("type", "value", "action", "risk_level", "note", "source", "owner", "created", "expires")
"""What we write, in this order."""

ALIASES: Mapping[str, str] = {
    "content": "value",
    "object": "value",
    "notes": "note",
    "description": "note",
    "scan_action": "action",
    "scanaction": "action",
    "risklevel": "risk_level",
    "risk level": "risk_level",
    "expiration_utc_date": "expires",
    "expired_date_time": "expires",
    "expiration": "expires",
    "scan action": "action",
}
"""Column names of other consoles → ours."""

_TYPES = {"host": ObjectType.DOMAIN, "url": ObjectType.URL, "ip": ObjectType.IP}
"""Kinds of `reputation.formats_stix.values` → types of objects."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r")

Read = tuple[list[Object], list[str]]
"""What could be taken, and a line for each row that could not."""


def to_csv(objects: Iterable[Object]) -> str:
    """With a head; no spreadsheet sees a formula in it."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for item in objects:
        writer.writerow([_cell(getattr(item, name)) for name in COLUMNS])
    return out.getvalue()


def _cell(value: object) -> str:
    text = value.isoformat() if isinstance(value, datetime) else str(value or "")
    return "'" + text if text.startswith(_FORMULA) else text


def from_csv(raw: bytes, *, new_id: Callable[[], str], created: datetime) -> Read:
    """Rows with a head of column names, ours or another console's. Raises Invalid where there is no head."""
    text = raw.decode("utf-8-sig", "replace").replace("\0", "")
    rows = csv.DictReader(io.StringIO(text, newline=""))
    names = {ALIASES.get(name.strip().lower(), name.strip().lower()): name for name in rows.fieldnames or () if name}
    if "type" not in names or "value" not in names:
        raise Invalid(
            f"the first line must name the columns; needed are type and value, known are {', '.join(COLUMNS)}"
        )
    found: list[Object] = []
    refused: list[str] = []
    for row in rows:
        fields = {ours: _plain(row.get(theirs)) for ours, theirs in names.items() if ours in COLUMNS}
        try:
            found.append(parse_object(fields, object_id=new_id(), created=created))
        except Invalid as error:
            refused.append(f"line {rows.line_num}: {error}")
    return found, refused


def _plain(value: object) -> str:
    text = value.strip() if isinstance(value, str) else ""
    return text[1:] if text[:1] == "'" and text[1:2] in _FORMULA else text


def to_stix(objects: Iterable[Object], *, now: datetime) -> str:
    """A STIX 2.1 bundle of indicators; file hashes too."""
    stamp = _stamp(now)
    indicators = [
        {
            "type": "indicator",
            "spec_version": "2.1",
            "id": f"indicator--{_uuid(item.id)}",
            "created": _stamp(item.created),
            "modified": stamp,
            "indicator_types": ["benign" if item.action in ("allow", "override") else "malicious-activity"],
            "pattern": _pattern(item),
            "pattern_type": "stix",
            "valid_from": _stamp(item.created),
            "description": item.note,
            "labels": [f"toc-action:{item.action}"],
            **({"valid_until": _stamp(item.expires)} if item.expires else {}),
        }
        for item in objects
    ]
    bundle = {"type": "bundle", "id": f"bundle--{_uuid(stamp)}", "objects": indicators}
    return json.dumps(bundle, ensure_ascii=False, indent=1)


def from_stix(raw: bytes, *, new_id: Callable[[], str], created: datetime) -> Read:
    """Indicators on URLs, domains and addresses. Raises Invalid where it is no bundle."""
    try:
        bundle = json.loads(raw)
        items = bundle["objects"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Invalid("this is no STIX bundle") from None
    found: list[Object] = []
    refused: list[str] = []
    for item in items if isinstance(items, list) else ():
        if not isinstance(item, dict) or item.get("type") != "indicator" or item.get("revoked"):
            continue
        try:
            found += _of_indicator(item, new_id, created)
        except (Invalid, ListError) as error:
            refused.append(f"{item.get('id', 'indicator')}: {error}")
    return found, refused


def _of_indicator(item: Mapping[str, object], new_id: Callable[[], str], created: datetime) -> list[Object]:
    labels = item.get("labels")
    words = [str(label) for label in labels] if isinstance(labels, list) else []
    action = next((word.partition(":")[2] for word in words if word.startswith("toc-action:")), "")
    action = (
        action if action in (ObjectAction.BLOCK, ObjectAction.WARN, ObjectAction.LOG, ObjectAction.ALLOW) else "block"
    )
    fields = {"action": action, "note": item.get("description") or item.get("name"), "expires": item.get("valid_until")}
    fields["source"] = "stix"
    return [
        parse_object({**fields, "type": _TYPES[path], "value": value}, object_id=new_id(), created=created)
        for path, value in _pairs(str(item.get("pattern", "")))
    ]


def _pairs(pattern: str) -> list[tuple[str, str]]:
    return [(kind, value) for kind, value in values(pattern) if kind in _TYPES]


def _pattern(item: Object) -> str:
    value = item.value.replace("\\", "\\\\").replace("'", "\\'")
    match ObjectType(item.type):
        case ObjectType.URL:
            return f"[url:value = '{value}']"
        case ObjectType.DOMAIN:
            return f"[domain-name:value = '{value}']"
        case ObjectType.IP:
            return f"[{'ipv6' if ':' in value else 'ipv4'}-addr:value = '{value}']"
        case ObjectType.FILE_SHA1:
            return f"[file:hashes.'SHA-1' = '{value}']"
        case ObjectType.FILE_SHA256:
            return f"[file:hashes.'SHA-256' = '{value}']"


def _stamp(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _uuid(text: str) -> str:
    """A UUID (RFC 9562, version 8) that is always the same for one object."""
    digest = hashlib.sha256(text.encode()).hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-8{digest[13:16]}-8{digest[17:20]}-{digest[20:32]}"
