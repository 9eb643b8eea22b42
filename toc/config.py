"""Every setting: its name, default, unit and limit, in one frozen tree. Reads the settings file and the environment.

Knows no part of the service. docs/settings.md is held against this module by a test. Each setting can also be given as
``TOC_SECTION__KEY`` in the environment, which wins over the file.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from toc.config_mail import GatewaySettings, MilterSettings, NotNegative, PositiveInt, Section, SignatureSettings
from toc.errors import ConfigError


class Service(Section, frozen=True, kw_only=True):
    public_url: Annotated[str, Meta(description="Base of the links in mails, as recipients reach it")] = ""
    public_listen: Annotated[str, Meta(description="Address and port of the public listener; port 0: any free one")] = (
        "127.0.0.1:8080"
    )
    admin_listen: Annotated[str, Meta(description="Address and port of the management listener")] = "127.0.0.1:8081"
    data_dir: Annotated[str, Meta(description="Folder of database, lists and spool")] = "."
    database: Annotated[str, Meta(description="`sqlite:///FILE` or `postgresql://USER@HOST/NAME`; empty: toc.db")] = ""
    keyset: Annotated[str, Meta(description="The keyset file")] = "keyset.json"
    keyset_backup: Annotated[str, Meta(description="Where its backup is, so that `toc doctor` can compare")] = ""
    workers: Annotated[int, Meta(ge=1, le=256, description="Processes that answer clicks")] = 1
    tls_cert: Annotated[str, Meta(description="Certificate chain of the public listener, PEM")] = ""
    tls_key: Annotated[str, Meta(description="Its key, PEM")] = ""
    admin_tls_cert: Annotated[str, Meta(description="Certificate chain of the management listener, PEM")] = ""
    admin_tls_key: Annotated[str, Meta(description="Its key, PEM")] = ""
    admin_behind_proxy: Annotated[bool, Meta(description="A proxy adds TLS to the management listener")] = False
    trusted_proxies: Annotated[
        tuple[str, ...], Meta(description="Networks whose X-Forwarded-For is believed, and which have no rate limit")
    ] = ()
    contact: Annotated[str, Meta(description="Whom recipients ask: shown on every page")] = ""
    security_contact: Annotated[str, Meta(description="For security.txt (RFC 9116): mailto: or https: URL")] = ""
    log_level: Annotated[Literal["debug", "info", "warning", "error"], Meta(description="What is logged")] = "info"


class LinkSettings(Section, frozen=True, kw_only=True):
    show_host: Annotated[bool, Meta(description="Show the target's host in the link")] = True
    max_link: Annotated[int, Meta(ge=200, le=8000, description="Longer links are stored (characters)")] = 900
    text: Annotated[
        Literal["inline", "short"], Meta(description="Links in plain text: as they are, or stored and short")
    ] = "inline"


class RewriterSettings(Section, frozen=True, kw_only=True):
    bare: Annotated[
        Literal["off", "path", "all"], Meta(description="Which URLs without a scheme are links in text")
    ] = "path"
    on_unscannable: Annotated[
        Literal["neutralise", "hold", "tempfail", "pass"],
        Meta(description="What happens to a part that could not be read"),
    ] = "neutralise"
    trust_roots: Annotated[str, Meta(description="PEM file: roots to which S/MIME signatures must verify")] = ""
    max_message: Annotated[int, Meta(ge=1, description="Bytes of a message")] = 100_000_000
    max_parts: Annotated[int, Meta(ge=1, description="MIME parts of a message")] = 1000
    max_depth: Annotated[int, Meta(ge=1, le=100, description="Nesting of MIME parts")] = 50
    processes: Annotated[int, Meta(ge=1, le=256, description="Processes that rewrite")] = 2
    judge: Annotated[bool, Meta(description="Ask for the verdict while rewriting, for the receipt")] = True


class ClickSettings(Section, frozen=True, kw_only=True):
    query: Annotated[
        Literal["full", "names"], Meta(description="Record query values of clicked URLs, or only their names")
    ] = "full"
    retention_days: Annotated[NotNegative, Meta(description="Days that clicks are kept; 0: for ever")] = 400
    address_days: Annotated[NotNegative, Meta(description="Days until the client address is truncated")] = 90
    scanner_networks: Annotated[
        tuple[str, ...], Meta(description="Networks of scanners: their clicks count as automated")
    ] = ()
    pseudonymous: Annotated[bool, Meta(description="Never store addresses of people, only their references")] = False
    capacity: Annotated[int, Meta(ge=1, description="Clicks in work at once per worker; more get a 503")] = 512
    nonce_seconds: Annotated[PositiveInt, Meta(description="How long the buttons of a page work")] = 600
    rate: Annotated[PositiveInt, Meta(description="Bad requests a second per client network")] = 50
    burst: Annotated[PositiveInt, Meta(description="Bad requests at once per client network")] = 5000


class SpoolSettings(Section, frozen=True, kw_only=True):
    megabytes: Annotated[int, Meta(ge=1, description="Size of the spool of each worker, preallocated")] = 64
    when_full: Annotated[
        Literal["warn_page", "serve"], Meta(description="What a recipient sees when nothing can be recorded")
    ] = "warn_page"
    commit_ms: Annotated[PositiveInt, Meta(description="Milliseconds until a record goes to the spool instead")] = 50


class Branding(Section, frozen=True, kw_only=True):
    name: Annotated[str, Meta(description="Name of the organisation, on every page")] = ""
    logo: Annotated[str, Meta(description="SVG or PNG file, at most 64 KiB")] = ""
    colour: Annotated[str, Meta(description="Colour of the page's head, `#rrggbb`")] = ""
    templates: Annotated[str, Meta(description="Folder of own page templates")] = ""
    texts: Annotated[dict[str, str], Meta(description="Line under the page's text, per language")] = msgspec.field(
        default_factory=dict
    )


class ConsoleSettings(Section, frozen=True, kw_only=True):
    idle_minutes: Annotated[PositiveInt, Meta(description="Minutes without a request after which a session ends")] = 60
    session_hours: Annotated[PositiveInt, Meta(description="Hours after signing in when a session ends anyway")] = 12


class FeedSettings(Section, frozen=True, kw_only=True):
    name: Annotated[str, Meta(pattern="^[a-z0-9][a-z0-9_-]{0,39}$", description="Name in matches and logs")]
    url: Annotated[str, Meta(description="https:, http: or file: URL")]
    format: Annotated[str, Meta(description="Name of the parser (docs/feeds.md)")]
    threat: Annotated[str, Meta(description="Threat type of entries that name none")] = "other"
    level: Annotated[
        Literal["suspicious", "highly_suspicious", "dangerous"], Meta(description="Level that a match leads to")
    ] = "dangerous"
    approves: Annotated[bool, Meta(description="Entries approve instead of accusing")] = False
    required: Annotated[bool, Meta(description="A verdict without this source counts as unchecked")] = False
    refresh_minutes: Annotated[PositiveInt, Meta(description="How often it is fetched")] = 60
    checksum_url: Annotated[str, Meta(description="Where its SHA-256 stands, if the source gives one")] = ""
    must_hit: Annotated[tuple[str, ...], Meta(description="URLs that a good list holds")] = ()
    must_miss: Annotated[tuple[str, ...], Meta(description="URLs that a good list does not hold")] = ()
    licence: Annotated[str, Meta(description="Note on its terms of use")] = ""
    proxy: Annotated[str, Meta(description="HTTP proxy for this source")] = ""
    user: Annotated[str, Meta(description="User name, where the source asks for one (HTTP Basic)")] = ""
    password: Annotated[str, Meta(description="Its password")] = ""
    token: Annotated[str, Meta(description="Bearer token, in place of user and password")] = ""


class DnsListSettings(Section, frozen=True, kw_only=True):
    name: Annotated[str, Meta(pattern="^[a-z0-9][a-z0-9_-]{0,39}$", description="Name in matches and logs")]
    zone: Annotated[str, Meta(description="Zone of the list, such as `dbl.example.org`; RPZ: the resolver answers")]
    nameserver: Annotated[str, Meta(description="ADDRESS or ADDRESS:PORT of the resolver")] = "127.0.0.1"
    kind: Annotated[
        Literal["dnsbl", "rpz"], Meta(description="A list to be asked, or a resolver with a policy zone")
    ] = "dnsbl"
    level: Annotated[
        Literal["suspicious", "highly_suspicious", "dangerous"], Meta(description="Level that a match leads to")
    ] = "dangerous"
    threat: Annotated[str, Meta(description="Threat type of its matches")] = "other"
    required: Annotated[bool, Meta(description="A verdict without this source counts as unchecked")] = False


class SafeBrowsingSettings(Section, frozen=True, kw_only=True):
    api_key: Annotated[str, Meta(description="Key of the service; empty: it is not asked")] = ""
    url: Annotated[str, Meta(description="Server of the protocol, version 5")] = "https://safebrowsing.googleapis.com"
    level: Annotated[
        Literal["suspicious", "highly_suspicious", "dangerous"], Meta(description="Level that a match leads to")
    ] = "dangerous"
    required: Annotated[bool, Meta(description="A verdict without this source counts as unchecked")] = False
    proxy: Annotated[str, Meta(description="HTTP proxy for this source")] = ""


class PeerSettings(Section, frozen=True, kw_only=True):
    name: Annotated[str, Meta(pattern="^[a-z0-9][a-z0-9_-]{0,39}$", description="Name in matches and logs")]
    servers: Annotated[
        tuple[str, ...], Meta(min_length=1, description="Management addresses of the peer, asked in this order")
    ]
    api_key: Annotated[str, Meta(description="Key with the scope `verdict` over there")] = ""
    timeout_ms: Annotated[PositiveInt, Meta(description="How long one server may take before the next is asked")] = 140
    share: Annotated[Literal["url", "host"], Meta(description="What the peer learns: the URL, or only its host")] = (
        "url"
    )
    approvals: Annotated[bool, Meta(description="What the peer approves is approved here")] = False
    required: Annotated[bool, Meta(description="A verdict without this source counts as unchecked")] = False
    proxy: Annotated[str, Meta(description="HTTP proxy for this source")] = ""


class ApexCentralSettings(Section, frozen=True, kw_only=True):
    url: Annotated[str, Meta(description="Base of the console, such as https://apex.example.com; empty: none")] = ""
    application_id: Annotated[str, Meta(description="Application ID of its Automation API")] = ""
    api_key: Annotated[str, Meta(description="API key of that application; signs each request")] = ""
    push: Annotated[bool, Meta(description="Put our own objects there, too, and take away what we put")] = False
    refresh_minutes: Annotated[PositiveInt, Meta(description="How often objects are exchanged")] = 15
    ca_file: Annotated[str, Meta(description="PEM file: the authority of its certificate, where it is its own")] = ""
    proxy: Annotated[str, Meta(description="HTTP proxy for this source")] = ""


class BrandSettings(Section, frozen=True, kw_only=True):
    name: Annotated[str, Meta(description="The word that an impostor would imitate")]
    domains: Annotated[tuple[str, ...], Meta(description="Its true domains")]


class ReputationSettings(Section, frozen=True, kw_only=True):
    deadline_ms: Annotated[PositiveInt, Meta(description="How long live sources may take together")] = 300
    popularity: Annotated[str, Meta(description="File of well-known domains, one a line: familiar hosts")] = ""
    suffix_list: Annotated[str, Meta(description="A newer public suffix list")] = ""
    objects_required: Annotated[bool, Meta(description="A verdict without the objects counts as unchecked")] = False
    feeds: tuple[FeedSettings, ...] = ()
    dns: tuple[DnsListSettings, ...] = ()
    safe_browsing: SafeBrowsingSettings = SafeBrowsingSettings()
    peers: tuple[PeerSettings, ...] = ()
    apex_central: ApexCentralSettings = ApexCentralSettings()
    brands: tuple[BrandSettings, ...] = ()


class AlertRule(Section, frozen=True, kw_only=True):
    name: Annotated[str, Meta(pattern="^[a-z0-9][a-z0-9_-]{0,39}$", description="Name in the alert")]
    on: Annotated[
        Literal["click", "conviction"],
        Meta(description="Clicks as they come, or URLs clicked before that an entry added later convicts"),
    ] = "click"
    threats: Annotated[tuple[str, ...], Meta(description="Threat types, such as `c2`; empty: whatever it is")] = ()
    group: Annotated[str, Meta(description="Name of recipients in `[alerts] groups`; empty: whoever it is")] = ""
    event: Annotated[
        Literal["", "shown", "forwarded", "proceeded", "reported"], Meta(description="What happened; empty: anything")
    ] = ""
    action: Annotated[Literal["", "allow", "warn", "block"], Meta(description="What was decided; empty: anything")] = ""
    clicks: Annotated[PositiveInt, Meta(description="How many on one host it takes")] = 1
    minutes: Annotated[PositiveInt, Meta(description="Within how many minutes")] = 10


class AlertSettings(Section, frozen=True, kw_only=True):
    proceeded: Annotated[bool, Meta(description="Alert when a person goes on past a warning")] = True
    convicted: Annotated[bool, Meta(description="Alert when a URL that was clicked is convicted later")] = True
    groups: Annotated[
        dict[str, tuple[str, ...]], Meta(description="Named groups of recipients: addresses, or `@domain`")
    ] = msgspec.field(default_factory=dict)
    group_minutes: Annotated[
        NotNegative, Meta(description="What follows on one host within these is told together")
    ] = 5
    per_hour: Annotated[PositiveInt, Meta(description="Most alerts in an hour; past that they are told together")] = 30
    console_url: Annotated[str, Meta(description="Address of the console in alerts, such as https://toc/console")] = ""
    mail_to: Annotated[tuple[str, ...], Meta(description="Who gets alerts by mail")] = ()
    mail_from: Annotated[str, Meta(description="Sender of these mails")] = ""
    smtp: Annotated[str, Meta(description="HOST:PORT of the mail server")] = "127.0.0.1:25"
    smtp_tls: Annotated[Literal["none", "starttls", "tls"], Meta(description="How the mail server is reached")] = "none"
    smtp_user: Annotated[str, Meta(description="User name there, where it asks for one")] = ""
    smtp_password: Annotated[str, Meta(description="Its password")] = ""
    webhook: Annotated[str, Meta(description="URL that alerts are posted to as JSON")] = ""
    webhook_secret: Annotated[str, Meta(description="Signs them; required with `webhook`")] = ""
    syslog: Annotated[str, Meta(description="`syslog://HOST:PORT` or `syslog+tls://HOST:PORT`")] = ""
    ca_file: Annotated[str, Meta(description="PEM file: the authority of their certificates, where it is its own")] = ""
    rules: tuple[AlertRule, ...] = ()


class PushSettings(Section, frozen=True, kw_only=True):
    name: Annotated[
        str, Meta(pattern="^[a-z0-9][a-z0-9_-]{0,39}$", description="Name under which its position is kept")
    ]
    to: Annotated[
        str, Meta(description="`syslog://HOST:PORT`, `syslog+tls://HOST:PORT`, or the `https://` URL of a webhook")
    ]
    format: Annotated[
        Literal["jsonl", "ecs", "cef", "urlclickevents"], Meta(description="Form of a click (docs/export.md)")
    ] = "jsonl"
    secret: Annotated[str, Meta(description="Signs what a webhook gets; required there")] = ""
    ca_file: Annotated[str, Meta(description="PEM file: the authority of its certificate, where it is its own")] = ""
    cert: Annotated[str, Meta(description="PEM file: our certificate, where the target asks for one")] = ""
    key: Annotated[str, Meta(description="Its key, PEM")] = ""
    proxy: Annotated[str, Meta(description="HTTP proxy for a webhook")] = ""
    backlog: Annotated[bool, Meta(description="Begin with the oldest click on record, not with the next one")] = False


class PolicySettings(Section, frozen=True, kw_only=True):
    default: Annotated[str, Meta(description="Profile where no rule names one")] = "default"
    rules: tuple[dict[str, Any], ...] = ()
    profiles: dict[str, dict[str, Any]] = msgspec.field(default_factory=dict)


class Config(Section, frozen=True, kw_only=True):
    """The whole tree. `base` is the folder that relative paths start from."""

    service: Service = Service()
    link: LinkSettings = LinkSettings()
    rewriter: RewriterSettings = RewriterSettings()
    clicks: ClickSettings = ClickSettings()
    spool: SpoolSettings = SpoolSettings()
    pages: Branding = Branding()
    console: ConsoleSettings = ConsoleSettings()
    reputation: ReputationSettings = ReputationSettings()
    milter: MilterSettings = MilterSettings()
    signatures: SignatureSettings = SignatureSettings()
    gateway: GatewaySettings = GatewaySettings()
    policy: PolicySettings = PolicySettings()
    push: tuple[PushSettings, ...] = ()
    alerts: AlertSettings = AlertSettings()
    base: str = "."
    source: str = ""

    def path(self, text: str) -> Path:
        """A path of the settings, relative to the settings file."""
        return Path(self.base, text)

    @property
    def data_dir(self) -> Path:
        return self.path(self.service.data_dir)

    @property
    def database(self) -> str:
        """The database URL with an absolute SQLite path."""
        url = self.service.database
        if not url:
            return f"sqlite:///{(self.data_dir / 'toc.db').resolve()}"
        if url.startswith("sqlite:///"):
            return f"sqlite:///{self.path(url.removeprefix('sqlite:///')).resolve()}"
        return url

    @property
    def keyset_path(self) -> Path:
        return self.path(self.service.keyset)


def read(path: Path, environment: Mapping[str, str]) -> tuple[Config, str]:
    """The settings of `path` and the environment, and the file's text (for the place of a broken rule).

    Raises ConfigError: what is wrong, where, and what to do.
    """
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        raise ConfigError(f"settings file {path} is missing; `toc init DIR --public-url URL` makes one") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"settings file {path} cannot be read: {error}") from None
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"settings file {path}: {error}") from None
    _apply_environment(document, environment)
    document["base"] = str(path.parent)
    document["source"] = str(path)
    return convert(document, str(path)), text


def convert(document: dict[str, Any], source: str) -> Config:
    """The tree from a parsed document. Raises ConfigError naming the setting."""
    try:
        return msgspec.convert(document, Config, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(f"settings file {source}: {_in_words(str(error))}") from None


def _in_words(message: str) -> str:
    """msgspec's ``... - at `$.service.workers` `` as ``[service] workers: ...``."""
    found = re.fullmatch(r"(.*) - at `\$\.?([^`]*)`", message, re.DOTALL)
    if not found:
        return message
    what, where = found.groups()
    section, _, name = where.partition(".")
    return f"[{section}] {name}: {what}" if name else f"[{section}]: {what}"


def _apply_environment(document: dict[str, Any], environment: Mapping[str, str]) -> None:
    for variable, value in sorted(environment.items()):
        section, separator, key = variable.removeprefix("TOC_").lower().partition("__")
        if not variable.startswith("TOC_") or not separator:
            continue
        table = document.setdefault(section, {})
        if isinstance(table, dict):
            table[key] = _toml_value(value)


def _toml_value(text: str) -> Any:
    """A list, table, number or truth value as in TOML; anything else is a text."""
    if text[:1] in "[{":
        try:
            return tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            return text
    return text


def place(text: str, header: str, index: int, source: str) -> str:
    """Where the `index`-th table `header` of a settings file stands: ``toc.toml line 12``."""
    pattern = re.compile(rf"^\s*\[\[?\s*{re.escape(header)}\s*\]?\]", re.MULTILINE)
    for number, found in enumerate(pattern.finditer(text)):
        if number == index:
            line = text.count("\n", 0, found.start()) + 1 + found.group().count("\n")
            return f"{os.path.basename(source)} line {line} ([{header}])"
    return f"{os.path.basename(source)} [{header}]"
