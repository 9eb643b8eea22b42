"""A server that speaks ``hashes:search`` of Safe Browsing v5, in JSON and in protobuf, and refuses what its documents refuse."""

from __future__ import annotations

import base64
import hashlib
import json

from tests.reputation.http_server import Request, Response

Details = list[tuple[int, list[int]]]
"""Threat type and attributes of each detail, as numbers of the enums."""

TYPES = [
    "THREAT_TYPE_UNSPECIFIED",
    "MALWARE",
    "SOCIAL_ENGINEERING",
    "UNWANTED_SOFTWARE",
    "POTENTIALLY_HARMFUL_APPLICATION",
]
ATTRIBUTES = ["THREAT_ATTRIBUTE_UNSPECIFIED", "CANARY", "FRAME_ONLY"]


class SafeBrowsingServer:
    """known: expression → details     seen: the raw hash prefixes of each request"""

    def __init__(self, known: dict[str, Details], *, protobuf: bool = False, seconds: float = 300.0) -> None:
        self.hashes = {hashlib.sha256(expression.encode()).digest(): rows for expression, rows in known.items()}
        self.protobuf = protobuf
        self.seconds = seconds
        self.seen: list[list[bytes]] = []
        self.raw: list[str] = []

    def __call__(self, request: Request) -> Response:
        self.raw.append(request.target)
        if request.path != "/v5/hashes:search" or request.method != "GET":
            return Response(404)
        if request.headers.get("x-goog-api-key") != "key-of-the-test":
            return Response(403, b'{"error": {"code": 403}}')
        prefixes = [base64.b64decode(value) for name, value in request.query if name == "hashPrefixes"]
        if not 0 < len(prefixes) <= 1000 or any(len(prefix) != 4 for prefix in prefixes):
            return Response(400, b'{"error": {"code": 400}}')
        self.seen.append(prefixes)
        found = {digest: rows for digest, rows in self.hashes.items() if digest[:4] in prefixes}
        if self.protobuf:
            return Response(200, self._protobuf(found), {"Content-Type": "application/x-protobuf"})
        return Response(200, self._json(found), {"Content-Type": "application/json; charset=UTF-8"})

    def _json(self, found: dict[bytes, Details]) -> bytes:
        rows = [
            {
                "fullHash": base64.b64encode(digest).decode(),
                "fullHashDetails": [
                    {"threatType": _name(TYPES, kind)}
                    | ({"attributes": [_name(ATTRIBUTES, number) for number in attributes]} if attributes else {})
                    for kind, attributes in details
                ],
            }
            for digest, details in found.items()
        ]
        document = ({"fullHashes": rows} if rows else {}) | {"cacheDuration": f"{self.seconds}s"}
        return json.dumps(document).encode()

    def _protobuf(self, found: dict[bytes, Details]) -> bytes:
        out = b""
        for digest, details in found.items():
            inner = message(1, digest)
            for kind, attributes in details:
                packed = b"".join(map(varint, attributes))
                inner += message(2, b"\x08" + varint(kind) + (message(2, packed) if packed else b""))
            out += message(1, inner)
        nanos = round(self.seconds % 1 * 1e9)
        return out + message(2, b"\x08" + varint(int(self.seconds)) + (b"\x10" + varint(nanos) if nanos else b""))


def _name(names: list[str], number: int) -> str:
    return names[number] if number < len(names) else f"A_NEW_ONE_{number}"


def varint(number: int) -> bytes:
    out = b""
    while number > 0x7F:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def message(number: int, inner: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(inner)) + inner
