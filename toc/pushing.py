"""Who is sent what, out of the settings: the targets of `[[push]]`, the channels of `[alerts]`. Sends nothing."""

from __future__ import annotations

import socket
import ssl
import time
from urllib.parse import urlsplit

import httpx
import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from redirector.delivery import TIMEOUT, Hook, Road, SyslogStream, Webhook, tls_context
from redirector.export import format_of
from redirector.push import Pusher, Target
from toc.alert_mail import MailRoad, Server
from toc.alerting import POSITION, Channel, Watch
from toc.alerts import document, text
from toc.config import AlertSettings, Config, PushSettings
from toc.errors import ConfigError
from toc.knowledge import utc_now
from toc.verdict import ThreatType

SYSLOG_PORTS = {"syslog": 514, "syslog+tls": 6514}
"""RFC 6587 (by custom), RFC 5425."""


def pushers(config: Config, engine: AsyncEngine) -> list[Pusher]:
    """One for each target. Raises ConfigError."""
    return [Pusher(target, engine) for target in _targets(config)]


def check(config: Config) -> None:
    """Raises ConfigError for what cannot work: `toc doctor` asks before the service starts."""
    _targets(config)
    check_rules(config.alerts)
    channels(config)


def _targets(config: Config) -> list[Target]:
    names = [POSITION, *(row.name for row in config.push)]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"[[push]] {twice}: this name, under which a position is kept, is taken")
    return [target_of(row, config) for row in config.push]


def target_of(row: PushSettings, config: Config) -> Target:
    """Raises ConfigError."""
    media_type, _, line = format_of(row.format)
    return Target(row.name, road_of(row, config, media_type), line, row.backlog)


def road_of(row: PushSettings, config: Config, media_type: str) -> Road:
    """Raises ConfigError: which setting, and what is wrong with it."""
    place = f"[[push]] {row.name}"
    context = _context(place, config, row.ca_file, row.cert, row.key)
    return _road(f"{place}: to", row.to, context, row.proxy, Hook(row.to, row.secret, row.name, media_type))


def _context(place: str, config: Config, *files: str) -> ssl.SSLContext:
    try:
        return tls_context(*(str(config.path(file)) if file else "" for file in files))
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"{place}: ca_file, cert or key cannot be read: {error}") from None


def _road(place: str, address: str, context: ssl.SSLContext, proxy: str, hook: Hook) -> Road:
    try:
        url = urlsplit(address)
        port = url.port
    except ValueError:
        raise ConfigError(f"{place} = {address!r} is no address") from None
    if not url.hostname or url.scheme not in (*SYSLOG_PORTS, "http", "https"):
        raise ConfigError(f"{place} = {address!r} must begin with syslog://, syslog+tls://, http:// or https://")
    if url.scheme in SYSLOG_PORTS:
        return SyslogStream(
            url.hostname,
            port or SYSLOG_PORTS[url.scheme],
            context=context if url.scheme == "syslog+tls" else None,
            own_name=socket.gethostname(),
            clock=time.monotonic,
        )
    if not hook.secret:
        raise ConfigError(f"{place}: a webhook needs a secret, so that its receiver knows who is calling")
    return Webhook(hook, httpx.AsyncClient(verify=context, proxy=proxy or None, timeout=TIMEOUT), time.time)


def watch(config: Config, engine: AsyncEngine) -> Watch:
    """What watches for alerts. Raises ConfigError."""
    check_rules(config.alerts)
    return Watch(config.alerts, engine, channels(config), utc_now, time.monotonic)


def check_rules(settings: AlertSettings) -> None:
    """Raises ConfigError for a group or a threat type that there is not."""
    for rule in settings.rules:
        if rule.group and rule.group not in settings.groups:
            raise ConfigError(f"[[alerts.rules]] {rule.name}: there is no group {rule.group!r} in [alerts] groups")
        unknown = set(rule.threats) - set(ThreatType)
        if unknown:
            raise ConfigError(f"[[alerts.rules]] {rule.name}: threats {', '.join(sorted(unknown))} are none")


def channels(config: Config) -> list[Channel]:
    """Raises ConfigError."""
    settings = config.alerts
    context = _context("[alerts]", config, settings.ca_file)
    console = settings.console_url.rstrip("/")
    json = lambda alert: msgspec.json.encode(document(alert, console)).decode() + "\n"  # noqa: E731
    found = []
    if settings.mail_to:
        found.append(Channel("mail", _mail(settings, context), lambda alert: text(alert, console)))
    for name, address in (("webhook", settings.webhook), ("syslog", settings.syslog)):
        if address:
            hook = Hook(address, settings.webhook_secret, "alerts", "application/jsonl")
            found.append(Channel(name, _road(f"[alerts] {name}", address, context, "", hook), json))
    return found


def _mail(settings: AlertSettings, context: ssl.SSLContext) -> MailRoad:
    host, colon, port = settings.smtp.rpartition(":")
    if not colon or not port.isdigit():
        raise ConfigError(f"[alerts] smtp = {settings.smtp!r} must be HOST:PORT")
    if not settings.mail_from:
        raise ConfigError("[alerts] mail_from is missing: the sender of the mails to mail_to")
    server = Server(host.strip("[]"), int(port), settings.smtp_tls, settings.smtp_user, settings.smtp_password, context)
    return MailRoad(server, settings.mail_from, settings.mail_to)
