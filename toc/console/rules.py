"""Every route of the console, once: who may. A route without a row here is refused at start, and fails a test.

Paths are below ``/console``. A role covers those below it (`toc.accounts.Role`); None: open to all.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from starlette.routing import Route

from toc.accounts import Role

MAX_FORM = 65_536
"""Bytes of a form: the largest field is an object's note."""

MAX_IMPORT = 2_000_000
"""Bytes of a list that is taken in by a form; files that are longer are for the command line and for calls."""


@dataclass(frozen=True, slots=True)
class Rule:
    """`most`: bytes of the form that comes with it."""

    method: str
    path: str
    role: Role | None
    most: int = MAX_FORM


RULES: tuple[Rule, ...] = (
    Rule("GET", "/static/{name:path}", None),
    Rule("GET", "/sign-in", None),
    Rule("POST", "/sign-in", None),
    Rule("POST", "/sign-out", Role.VIEWER),
    Rule("GET", "/", Role.VIEWER),
    Rule("GET", "/clicks", Role.VIEWER),
    Rule("GET", "/clicks/{id}", Role.VIEWER),
    Rule("POST", "/clicks/{id}/reveal", Role.ANALYST),
    Rule("GET", "/messages", Role.VIEWER),
    Rule("GET", "/messages/{ref}", Role.VIEWER),
    Rule("POST", "/messages/{ref}/reveal", Role.ANALYST),
    Rule("GET", "/hits", Role.VIEWER),
    Rule("GET", "/objects", Role.VIEWER),
    Rule("GET", "/objects/check", Role.ANALYST),
    Rule("POST", "/objects", Role.ANALYST),
    Rule("GET", "/objects/import", Role.ANALYST),
    Rule("POST", "/objects/import", Role.ANALYST, most=3 * MAX_IMPORT + MAX_FORM),  # each byte may come as %XX
    Rule("GET", "/objects/export", Role.ANALYST),
    Rule("POST", "/objects/{id}/expire", Role.ANALYST),
    Rule("POST", "/objects/{id}/delete", Role.ANALYST),
    Rule("GET", "/lists", Role.VIEWER),
    Rule("POST", "/lists/{name}/refresh", Role.ANALYST),
    Rule("GET", "/policy", Role.VIEWER),
    Rule("GET", "/reports", Role.VIEWER),
    Rule("POST", "/reports/{id}", Role.ANALYST),
    Rule("GET", "/keys", Role.ADMIN),
    Rule("GET", "/audit", Role.ADMIN),
    Rule("GET", "/account", Role.VIEWER),
    Rule("POST", "/account/view", Role.VIEWER),
    Rule("POST", "/account/password", Role.VIEWER),
)


def find(method: str, path: str) -> Rule | None:
    """The rule of a route's method and path pattern."""
    wanted = "GET" if method == "HEAD" else method
    return next((rule for rule in RULES if (rule.method, rule.path) == (wanted, path)), None)


def without_rule(routes: Iterable[Route]) -> list[str]:
    """Routes that no rule names: they must not be served."""
    return [
        f"{method} {route.path}"
        for route in routes
        for method in sorted(route.methods or ())
        if find(method, route.path) is None
    ]
