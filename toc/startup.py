"""What every process reads first: settings, policy, keyset. One place, so that all refuse the same mistakes alike."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from toc import config as settings
from toc.config import Config
from toc.errors import ConfigError
from toc.policy import Policy
from toc.policy_file import read_policy
from toc.url import use_suffix_list

ENVIRONMENT = "TOC_CONFIG"
FILE_NAME = "toc.toml"


@dataclass(frozen=True, slots=True)
class Startup:
    config: Config
    policy: Policy


def settings_path(given: Path | None, environment: Mapping[str, str]) -> Path:
    """The settings file: ``--config``, else ``TOC_CONFIG``, else ``toc.toml`` here."""
    if given is not None:
        return given
    return Path(environment.get(ENVIRONMENT) or FILE_NAME)


def read(given: Path | None = None, environment: Mapping[str, str] | None = None) -> Startup:
    """Settings and policy, checked. Raises ConfigError, PolicyError."""
    environment = os.environ if environment is None else environment
    path = settings_path(given, environment)
    config, text = settings.read(path, environment)
    _check(config)
    rules = [
        (fields, settings.place(text, "policy.rules", number, config.source))
        for number, fields in enumerate(config.policy.rules)
    ]
    profiles = {
        name: (fields, settings.place(text, f"policy.profiles.{name}", 0, config.source))
        for name, fields in config.policy.profiles.items()
    }
    policy = read_policy(rules, profiles, config.policy.default)
    if config.reputation.suffix_list:
        use_suffix_list(config.path(config.reputation.suffix_list))
    return Startup(config, policy)


def _check(config: Config) -> None:
    """What types cannot say. Raises ConfigError."""
    service = config.service
    for cert, key, name in (
        (service.tls_cert, service.tls_key, "tls"),
        (service.admin_tls_cert, service.admin_tls_key, "admin_tls"),
    ):
        if bool(cert) != bool(key):
            raise ConfigError(f"[service] {name}_cert and {name}_key belong together; one of them is missing")
        for file in filter(None, (cert, key)):
            if not config.path(file).is_file():
                raise ConfigError(f"[service] {name}: file {config.path(file)} is missing")
    host = service.admin_listen.rpartition(":")[0].strip("[]")
    if host not in ("127.0.0.1", "::1", "localhost") and not service.admin_tls_cert and not service.admin_behind_proxy:
        raise ConfigError(
            f"[service] admin_listen = {service.admin_listen!r} is not loopback: it needs admin_tls_cert and "
            "admin_tls_key, or admin_behind_proxy = true where a proxy adds TLS"
        )
    if not config.database.startswith(("sqlite:///", "postgresql://")):
        raise ConfigError("[service] database must begin with sqlite:/// or postgresql://")
