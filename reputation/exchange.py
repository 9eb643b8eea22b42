"""Suspicious objects in and out of files: CSV as consoles exchange them, STIX 2.1 bundles. Pure."""

from __future__ import annotations

import codecs
import csv
import hashlib
import io
import json
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from reputation.formats_stix import accuses, values
from reputation.objects import Object, ObjectAction, ObjectType, parse_object
from toc.errors import Invalid

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

TYPES: Mapping[str, str] = {
    "filesha1": ObjectType.FILE_SHA1,
    "filesha256": ObjectType.FILE_SHA256,
    "sha1": ObjectType.FILE_SHA1,
    "sha256": ObjectType.FILE_SHA256,
    "host": ObjectType.DOMAIN,
    "ip address": ObjectType.IP,
}
"""Types as other consoles and `reputation.formats_stix.values` name them → ours."""

OWN = "x_toc_object"
"""Our own property of an indicator: what STIX has no word for."""
_OWN_FIELDS = ("action", "risk_level", "owner", "source")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")

Read = tuple[list[Object], list[str]]
"""What could be taken, and a line for each row that could not."""


def from_file(raw: bytes, *, new_id: Callable[[], str], created: datetime) -> Read:
    """A STIX bundle where it begins as one does, else CSV. Raises Invalid."""
    begins = raw.removeprefix(codecs.BOM_UTF8).lstrip()[:1]
    return (from_stix if begins == b"{" else from_csv)(raw, new_id=new_id, created=created)


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
    return "'" + text if text.lstrip("'").startswith(_FORMULA) else text


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
    try:
        for row in rows:
            fields: dict[str, object] = {
                ours: _plain(row.get(theirs)) for ours, theirs in names.items() if ours in COLUMNS
            }
            _take(fields, f"line {rows.line_num}", (found, refused), new_id, created)
    except csv.Error as error:
        refused.append(f"line {rows.line_num} and all behind it: {error}")
    return found, refused


def _take(fields: dict[str, object], place: str, into: Read, new_id: Callable[[], str], created: datetime) -> None:
    word = str(fields.get("type") or "").lower()
    fields["type"] = TYPES.get(word, word)
    try:
        into[0].append(parse_object(fields, object_id=new_id(), created=created))
    except Invalid as error:
        into[1].append(f"{place}: {error}")


def _plain(value: object) -> str:
    text = value.strip() if isinstance(value, str) else ""
    return text[1:] if text[:1] == "'" and text.lstrip("'").startswith(_FORMULA) else text


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
            OWN: {name: value for name in _OWN_FIELDS if (value := getattr(item, name))},
            **({"valid_until": _stamp(item.expires)} if item.expires else {}),
        }
        for item in objects
    ]
    bundle = {"type": "bundle", "id": f"bundle--{_uuid(stamp)}", "objects": indicators}
    return json.dumps(bundle, ensure_ascii=False, indent=1)


def from_stix(raw: bytes, *, new_id: Callable[[], str], created: datetime) -> Read:
    """Indicators that accuse, and what we exported ourselves. Raises Invalid where it is no bundle."""
    try:
        bundle = json.loads(raw)
        items = bundle["objects"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Invalid("this is no STIX bundle") from None
    read: Read = ([], [])
    for number, item in enumerate(items if isinstance(items, list) else (), 1):
        if isinstance(item, dict) and item.get("type") == "indicator" and (own := _own(item)) is not None:
            more = {"note": item.get("description") or item.get("name"), "expires": item.get("valid_until"), **own}
            for kind, value in values(str(item.get("pattern", ""))):
                _take({"type": kind, "value": value, **more}, f"indicator {number}", read, new_id, created)
    return read


def _own(item: Mapping[str, object]) -> dict[str, object] | None:
    """What our own export says beside the pattern; of another house's indicator that it blocks, None if it does not."""
    if (own := item.get(OWN)) is not None:
        return {name: own.get(name) for name in _OWN_FIELDS} if isinstance(own, dict) else None
    return {"action": ObjectAction.BLOCK, "source": "stix"} if accuses(item) else None


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
