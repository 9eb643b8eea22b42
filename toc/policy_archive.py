"""Every policy that ever decided here, by its version: so that an old click can be explained. Knows the folder only.

data_dir/policies/<version>.json    rules and profiles as the settings spelt them
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from toc.config import Config
from toc.errors import PolicyError
from toc.policy import Policy
from toc.policy_file import read_policy


class Kept(msgspec.Struct, frozen=True):
    rules: tuple[dict[str, object], ...]
    profiles: dict[str, dict[str, object]]
    default: str


def _path(config: Config, version: str) -> Path:
    return config.data_dir / "policies" / f"{version}.json"


def keep(config: Config, policy: Policy) -> None:
    """Write the policy down, unless it lies there already. Raises OSError."""
    path = _path(config, policy.version)
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    settings = config.policy
    with aside.open("wb") as file:
        file.write(msgspec.json.encode(Kept(settings.rules, settings.profiles, settings.default)))
        file.flush()
        os.fsync(file.fileno())
    os.replace(aside, path)


def find(config: Config, version: str) -> Policy | None:
    """The policy of that version; None where it was never kept here, or the file is not what it was."""
    if not version.isalnum():
        return None
    try:
        kept = msgspec.json.decode(_path(config, version).read_bytes(), type=Kept)
        where = f"policy {version}"
        policy = read_policy(
            [(fields, where) for fields in kept.rules],
            {name: (fields, where) for name, fields in kept.profiles.items()},
            kept.default,
        )
    except (OSError, msgspec.DecodeError, PolicyError):
        return None
    return policy if policy.version == version else None
