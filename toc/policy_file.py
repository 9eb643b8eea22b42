"""Reads profiles and rules from the configuration, and refuses broken ones with their place. Pure.

Knows the spelling of the policy in the settings file; what a policy means stands in `toc.policy`.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TypeVar

from toc.errors import PolicyError
from toc.policy import DEFAULT, FIRST_OWN_NUMBER, STRICT, Action, Network, Policy, Profile, Rule, Scope
from toc.token import Direction, normal_address
from toc.url import ascii_host
from toc.verdict import Level

_T = TypeVar("_T")
_ACTIONS = {action.code: action for action in Action}
_SCOPES = {scope.value: scope for scope in Scope}
_DIRECTIONS = {direction.name.lower(): direction for direction in Direction}


def read_profile(name: str, fields: Mapping[str, object], where: str) -> Profile:
    """A profile of the configuration. Raises PolicyError: what is wrong, and where."""
    known = {level.code for level in Level} | {"number", "unchecked", "internal", "max_age_days", "max_networks"}
    _only(fields, known, where)
    base = STRICT if name == "strict" else DEFAULT
    actions = tuple(_word(fields, level.code, _ACTIONS, base.action(level), where) for level in Level)
    for level in list(Level)[1:]:
        if actions[level] < actions[level - 1]:
            raise PolicyError(
                f"{where}: {level.code} = {actions[level].code!r} is milder than {Level(level - 1).code} = "
                f"{actions[level - 1].code!r}; actions must not fall from safe to dangerous"
            )
    number = _number(fields, "number", base.number if name in ("default", "strict") else -1, where)
    if name not in ("default", "strict") and not FIRST_OWN_NUMBER <= number <= 0xFFFF:
        raise PolicyError(f"{where}: number must be given, {FIRST_OWN_NUMBER} to 65535, and never reused")
    days = _number(fields, "max_age_days", 0, where)
    return Profile(
        name,
        number,
        (actions[0], actions[1], actions[2], actions[3], actions[4]),
        _word(fields, "unchecked", _ACTIONS, base.unchecked, where),
        _word(fields, "internal", _SCOPES, base.internal, where),
        timedelta(days=days) if days else None,
        _number(fields, "max_networks", 0, where),
    )


_RULE_FIELDS = {
    "name", "direction", "sender", "recipient", "client", "authenticated", "domain", "profile", "scope", "exempt",
    "keep_pgp", "keep_patches",
}  # fmt: skip


def read_rule(fields: Mapping[str, object], profiles: Mapping[str, Profile], where: str) -> Rule:
    """A rule of the configuration. Raises PolicyError: what is wrong, and where."""
    _only(fields, _RULE_FIELDS, where)
    name = fields.get("name")
    if not isinstance(name, str) or not name:
        raise PolicyError(f"{where}: a rule needs a name, so that a receipt can say which one decided")
    profile = fields.get("profile")
    if profile is not None and profile not in profiles:
        raise PolicyError(f"{where}: there is no profile {profile!r}; known are {', '.join(sorted(profiles))}")
    rule = Rule(
        name=name,
        directions=frozenset(
            _choice(word, _DIRECTIONS, "direction", where) for word in _texts(fields, "direction", where)
        ),
        senders=tuple(_pattern(text, where) for text in _texts(fields, "sender", where)),
        recipients=tuple(_pattern(text, where) for text in _texts(fields, "recipient", where)),
        clients=tuple(_network(text, where) for text in _texts(fields, "client", where)),
        authenticated=_flag(fields, "authenticated", where),
        domains=tuple(_domain(text, where) for text in _texts(fields, "domain", where)),
        profile=profiles[profile] if isinstance(profile, str) else None,
        scope=_word(fields, "scope", {**_SCOPES, "": None}, None, where),
        exempt=_flag(fields, "exempt", where) or False,
        keep_pgp=_flag(fields, "keep_pgp", where) or False,
        keep_patches=_flag(fields, "keep_patches", where) or False,
    )
    trusted = rule.clients or rule.authenticated or rule.domains
    if rule.exempt and not trusted:
        raise PolicyError(
            f"{where}: exempt needs client, authenticated = true or domain, since a sender's name can be forged"
        )
    return rule


def read_policy(
    rules: Sequence[tuple[Mapping[str, object], str]],
    profiles: Mapping[str, tuple[Mapping[str, object], str]],
    default: str = "default",
) -> Policy:
    """The policy of the configuration; each table comes with the words that say where it stands.

    Raises PolicyError.
    """
    found = {"default": DEFAULT, "strict": STRICT}
    for name, (fields, where) in profiles.items():
        found[name] = read_profile(name, fields, where)
    numbers: dict[int, str] = {}
    for profile in found.values():
        other = numbers.setdefault(profile.number, profile.name)
        if other != profile.name:
            raise PolicyError(f"profiles {other!r} and {profile.name!r} have the same number {profile.number}")
    if default not in found:
        raise PolicyError(f"policy.default: there is no profile {default!r}; known are {', '.join(sorted(found))}")
    read = tuple(read_rule(fields, found, where) for fields, where in rules)
    version = hashlib.sha256(repr((read, sorted(found.items()), default)).encode()).hexdigest()[:12]
    return Policy(read, found, found[default], version)


def _only(fields: Mapping[str, object], known: set[str], where: str) -> None:
    for name in fields:
        if name not in known:
            raise PolicyError(f"{where}: there is no setting {name!r}; known are {', '.join(sorted(known))}")


def _word(fields: Mapping[str, object], name: str, words: Mapping[str, _T], default: _T, where: str) -> _T:
    return _choice(fields[name], words, name, where) if name in fields else default


def _choice(value: object, words: Mapping[str, _T], name: str, where: str) -> _T:
    if not isinstance(value, str) or value not in words:
        raise PolicyError(f"{where}: {name} = {value!r} is none of {', '.join(filter(None, words))}")
    return words[value]


def _number(fields: Mapping[str, object], name: str, default: int, where: str) -> int:
    value = fields.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or (value < 0 and name in fields):
        raise PolicyError(f"{where}: {name} = {value!r} is not a whole number from 0 up")
    return value


def _flag(fields: Mapping[str, object], name: str, where: str) -> bool | None:
    value = fields.get(name)
    if value is not None and not isinstance(value, bool):
        raise PolicyError(f"{where}: {name} = {value!r} is neither true nor false")
    return value


def _texts(fields: Mapping[str, object], name: str, where: str) -> tuple[str, ...]:
    value = fields.get(name, [])
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not all(isinstance(text, str) and text for text in values):
        raise PolicyError(f"{where}: {name} must be a text or a list of texts")
    if name in fields and not values:
        raise PolicyError(f"{where}: {name} is empty; leave it out if it does not matter")
    return tuple(values)


def _pattern(text: str, where: str) -> str:
    """An exact address, or a domain with its sub-domains."""
    if "@" in text.lstrip("@"):
        return normal_address(text)
    return _domain(text.lstrip("@"), where)


def _domain(text: str, where: str) -> str:
    if "*" in text:
        raise PolicyError(f"{where}: {text!r}: no wildcards; a domain covers its sub-domains already")
    host = ascii_host(text.strip("."))
    if host is None:
        raise PolicyError(f"{where}: {text!r} is not a domain")
    return host


def _network(text: str, where: str) -> Network:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise PolicyError(f"{where}: {text!r} is not an address or a network such as 192.0.2.0/24") from None
