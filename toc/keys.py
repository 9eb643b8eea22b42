"""The keyset: everything that sealing and opening need, in one file that belongs to the customer.

Knows the file, its states and how it changes safely under running processes. Knows no link, no mail, no clock: the
time and the source of randomness are handed in.

A new key is first `enabled` (every process learns to open with it) and only later `primary` (new links are sealed with
it), so that no link is ever sealed that some worker cannot open yet; Tink's keysets work the same way.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

from toc.errors import BadUrl, KeysetError, KeyTooYoung
from toc.url import Url, parse

PROMOTION_AGE = timedelta(seconds=60)
"""How old a key must be before it seals: every process looks at the file each second; the rest is margin."""

_NAME = re.compile(r"[a-z0-9-]{1,63}\Z")


class State(StrEnum):
    PRIMARY = "primary"  # seals and opens; exactly one
    ENABLED = "enabled"  # opens only
    DISABLED = "disabled"  # neither: its links get the damaged page


@dataclass(frozen=True, slots=True)
class Key:
    """One master key: id of 4 bytes, secret of 32 bytes, its birth in UTC, its state."""

    id: bytes
    secret: bytes
    created: datetime
    state: State


@dataclass(frozen=True, slots=True)
class Keyset:
    """What stands in the file.

    deployment:  name of this installation, ``[a-z0-9-]{1,63}``; part of every key derivation
    tenant:      the same shape
    public_urls: base URLs of the redirector, the current one first, former ones after it
    ref_key:     32 bytes for references and stored ids; never rotated, as links in old mails depend on it
    keys:        exactly one of them is primary
    """

    deployment: str
    tenant: str
    public_urls: tuple[Url, ...]
    ref_key: bytes
    keys: tuple[Key, ...]

    @property
    def primary(self) -> Key:
        for key in self.keys:  # asked for each link
            if key.state is State.PRIMARY:
                return key
        raise KeysetError("the keyset has no primary key")

    def usable(self, key_id: bytes) -> Key | None:
        """The key with this id if it may open links, else None."""
        for key in self.keys:
            if key.id == key_id and key.state is not State.DISABLED:
                return key
        return None

    def named(self, key_id: bytes) -> Key:
        for key in self.keys:
            if key.id == key_id:
                return key
        raise KeysetError(f"no key {key_id.hex()} in the keyset; `toc keys list` shows them")


def create(
    deployment: str, tenant: str, public_urls: tuple[str, ...], *, random: Callable[[int], bytes], now: datetime
) -> Keyset:
    """A new keyset with one primary key. Raises KeysetError for names or URLs that would not work."""
    key = Key(random(4), random(32), _whole_second(now), State.PRIMARY)
    return _checked(Keyset(deployment, tenant, tuple(map(_public_url, public_urls)), random(32), (key,)))


def add(keyset: Keyset, *, random: Callable[[int], bytes], now: datetime) -> Keyset:
    """The keyset with one more key that opens, but does not seal yet."""
    taken = {key.id for key in keyset.keys}
    key_id = random(4)
    while key_id in taken:
        key_id = random(4)
    key = Key(key_id, random(32), _whole_second(now), State.ENABLED)
    return replace(keyset, keys=(*keyset.keys, key))


def promote(keyset: Keyset, key_id: bytes, *, now: datetime, at_once: bool = False) -> Keyset:
    """Seal with this key from now on; the former primary goes on opening.

    Raises KeyTooYoung where the key is younger than `PROMOTION_AGE`, unless `at_once`; KeysetError for a disabled key.
    """
    key = keyset.named(key_id)
    if key.state is State.DISABLED:
        raise KeysetError(f"key {key_id.hex()} is disabled; a disabled key cannot seal")
    if now - key.created < PROMOTION_AGE and not at_once:
        age = int((now - key.created).total_seconds())
        raise KeyTooYoung(
            f"key {key_id.hex()} is {age} s old; a process may not know it yet. "
            f"Wait until it is {int(PROMOTION_AGE.total_seconds())} s old, or use --now"
        )
    return replace(keyset, keys=tuple(_promoted(other, key_id) for other in keyset.keys))


def _promoted(key: Key, key_id: bytes) -> Key:
    if key.id == key_id:
        return replace(key, state=State.PRIMARY)
    return replace(key, state=State.ENABLED) if key.state is State.PRIMARY else key


def disable(keyset: Keyset, key_id: bytes) -> Keyset:
    """Every link sealed with this key becomes a damaged link, at once. Raises KeysetError for the primary key."""
    if keyset.named(key_id).state is State.PRIMARY:
        raise KeysetError(f"key {key_id.hex()} is the primary key; promote another one first")
    return replace(
        keyset, keys=tuple(replace(key, state=State.DISABLED) if key.id == key_id else key for key in keyset.keys)
    )


def move(keyset: Keyset, public_url: str) -> Keyset:
    """Seal for another base URL; the former ones stay, so that their links are still known as ours."""
    new = _public_url(public_url)
    return replace(keyset, public_urls=(new, *(url for url in keyset.public_urls if url != new)))


def load(path: Path) -> Keyset:
    """Read the file. Raises KeysetError: missing, open to others, or broken; the message says which and what to do."""
    raw = read_private(path, "keyset", "restore it from its backup, or run `toc init` anew")
    try:
        return decode(raw)
    except KeysetError as error:
        raise KeysetError(f"keyset {path}: {error}") from None


def read_private(path: Path, what: str, missing: str = "") -> bytes:
    """The bytes of a file that no other user may read. Raises KeysetError, which calls it `what`."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode & 0o777
            raw = file.read()
    except FileNotFoundError:
        raise KeysetError("; ".join(filter(None, (f"{what} {path} is missing", missing)))) from None
    except OSError as error:
        raise KeysetError(f"{what} {path} cannot be read: {error.strerror}") from None
    if mode & 0o137:
        raise KeysetError(f"{what} {path} has mode {mode:04o}; only 0600 or 0640 is safe: chmod 600 {path}")
    return raw


def decode(raw: bytes) -> Keyset:
    """Keyset from the file's JSON. Raises KeysetError."""
    try:
        document: dict[str, Any] = json.loads(raw)
        keys = tuple(
            Key(
                bytes.fromhex(row["id"]),
                bytes.fromhex(row["key"]),
                datetime.fromisoformat(row["created"]).astimezone(UTC),
                State(row["state"]),
            )
            for row in document["keys"]
        )
        urls = tuple(_public_url(url) for url in document["public_urls"])
        keyset = Keyset(document["deployment"], document["tenant"], urls, bytes.fromhex(document["ref_key"]), keys)
    except KeyError as error:
        raise KeysetError(f"field {error} is missing") from None
    except (ValueError, TypeError, AttributeError):
        raise KeysetError("it is not a keyset file, or it was cut short; restore it from its backup") from None
    return _checked(keyset)


def encode(keyset: Keyset) -> bytes:
    document = {
        "deployment": keyset.deployment,
        "tenant": keyset.tenant,
        "public_urls": [url.href.rstrip("/") for url in keyset.public_urls],
        "ref_key": keyset.ref_key.hex(),
        "keys": [
            {"id": key.id.hex(), "key": key.secret.hex(), "created": key.created.isoformat(), "state": key.state.value}
            for key in keyset.keys
        ],
    }
    return json.dumps(document, indent=2).encode() + b"\n"


def save(path: Path, keyset: Keyset) -> None:
    """Write by temporary file, fsync and rename, so that a reader sees the old file or the new one, never a part."""
    mode = path.stat().st_mode & 0o640 if path.exists() else 0o600
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), mode)
            if path.exists():
                os.fchown(file.fileno(), path.stat().st_uid, path.stat().st_gid)
            file.write(encode(_checked(keyset)))
            file.flush()
            os.fsync(file.fileno())
        os.rename(name, path)
    except BaseException:
        os.unlink(name)
        raise
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def change(path: Path, step: Callable[[Keyset], Keyset]) -> Keyset:
    """Carry out one change under the lock, so that two commands at once lose nothing. Returns the new keyset."""
    with _lock(path):
        keyset = step(load(path))
        save(path, keyset)
    return keyset


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    handle = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


class KeysetFile:
    """The keyset as one process sees it: `current` is the last good one; `refresh` looks at the file again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp = self._stat()
        self._looked = float("-inf")
        self.current = load(path)
        self.error: str | None = None

    def refresh(self, now: float) -> bool:
        """Look at the file, at most once a second (`now`: seconds of any monotonic clock). True if it was replaced.

        A broken file keeps the last good keyset; `error` then says what is wrong.
        """
        if now - self._looked < 1.0:
            return False
        self._looked = now
        stamp = self._stat()
        if stamp == self._stamp and self.error is None:
            return False
        try:
            self.current = load(self._path)
        except KeysetError as error:
            self.error = str(error)
            return False
        self._stamp, self.error = stamp, None
        return True

    def _stat(self) -> tuple[int, int, int, int] | None:
        try:
            found = os.stat(self._path)
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size, found.st_mode


def _checked(keyset: Keyset) -> Keyset:
    for name, value in (("deployment", keyset.deployment), ("tenant", keyset.tenant)):
        if not isinstance(value, str) or not _NAME.match(value):
            raise KeysetError(f"{name} {value!r} must be 1 to 63 of a-z, 0-9 and -")
    if not keyset.public_urls:
        raise KeysetError("public_urls is empty")
    if len(keyset.ref_key) != 32:
        raise KeysetError("ref_key is not 32 bytes long")
    if sum(key.state is State.PRIMARY for key in keyset.keys) != 1:
        raise KeysetError("there must be exactly one primary key")
    if any(len(key.id) != 4 or len(key.secret) != 32 for key in keyset.keys):
        raise KeysetError("a key has an id that is not 4 bytes long or a secret that is not 32 bytes long")
    if len({key.id for key in keyset.keys}) != len(keyset.keys):
        raise KeysetError("two keys have the same id")
    return keyset


def _public_url(text: str) -> Url:
    try:
        url = parse(text)
    except BadUrl as error:
        raise KeysetError(f"public URL {text!r}: {error}") from None
    if url.userinfo or url.query or url.fragment:
        raise KeysetError(f"public URL {text!r} must hold nothing but scheme, host, port and path")
    return url


def _whole_second(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(microsecond=0)
