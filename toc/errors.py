"""The one tree of errors. Knows names, HTTP statuses and reason codes; knows no caller.

    TocError
    ├── ConfigError             configuration refused at start
    │   └── PolicyError         a rule of the policy is broken
    ├── KeysetError             keyset missing, broken or open to others
    │   └── KeyTooYoung         a key was promoted before every process could know it
    ├── BadUrl                  no http(s) URL, or one that no browser would visit
    ├── BadLink                 not a link of ours, or not any more
    │   └── StoreNeeded         a stored link (version 2), and no store at hand
    ├── StoreError              the database cannot be used
    │   └── SchemaTooNew        it was written by a newer version
    ├── ListError               a list was refused; the last good one goes on
    └── RequestError            the caller of an HTTP call is at fault
        ├── Unauthenticated     no key or session, or a wrong one
        ├── Forbidden           known, but not allowed to
        ├── NotFound
        ├── Conflict
        ├── Invalid             understood, and refused
        ├── Unsupported         a media type that we do not take
        ├── TooLarge
        ├── RateLimited
        └── Overloaded

Every error carries ``status`` (HTTP), ``reason`` (a code of docs/reasons.md) and ``facts`` (names and values that
a page or a log line may show; never a secret).
"""

from __future__ import annotations

from typing import ClassVar


class TocError(Exception):
    """Base of all our errors. ``str(error)`` is one line that says what, where and what to do."""

    status: ClassVar[int] = 500
    reason: ClassVar[str] = "internal"

    def __init__(self, message: str, **facts: str | int) -> None:
        super().__init__(message)
        self.facts = facts


class ConfigError(TocError):
    reason = "config"


class PolicyError(ConfigError):
    reason = "policy"


class KeysetError(TocError):
    reason = "keyset_rejected"


class KeyTooYoung(KeysetError):
    reason = "key_too_young"


class BadUrl(TocError):
    status = 422
    reason = "bad_url"


class BadLink(TocError):
    status = 404
    reason = "bad_link"


class StoreNeeded(BadLink):
    status = 503
    reason = "store_needed"


class StoreError(TocError):
    status = 503
    reason = "store_unavailable"


class SchemaTooNew(StoreError):
    reason = "schema_too_new"


class ListError(TocError):
    status = 422
    reason = "list_rejected"


class RequestError(TocError):
    status = 400
    reason = "bad_request"


class Unauthenticated(RequestError):
    status = 401
    reason = "unauthenticated"


class Forbidden(RequestError):
    status = 403
    reason = "forbidden"


class NotFound(RequestError):
    status = 404
    reason = "not_found"


class Conflict(RequestError):
    status = 409
    reason = "conflict"


class Invalid(RequestError):
    status = 422
    reason = "invalid"


class Unsupported(RequestError):
    status = 415
    reason = "unsupported"


class TooLarge(RequestError):
    status = 413
    reason = "too_large"


class RateLimited(RequestError):
    status = 429
    reason = "rate_limited"


class Overloaded(RequestError):
    status = 503
    reason = "overloaded"
