"""Settings of the gateway's side: the milter, signatures around the edit, the test mail; and what every section is made of."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

PositiveInt = Annotated[int, Meta(ge=1)]
NotNegative = Annotated[int, Meta(ge=0)]


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of all sections: frozen, and an unknown name in the file is an error, not a surprise."""


class MilterSettings(Section, frozen=True, kw_only=True):
    listen: Annotated[str, Meta(description="HOST:PORT or unix:/PATH of `toc milter`")] = "127.0.0.1:8082"
    internal_networks: Annotated[tuple[str, ...], Meta(description="Mail from these is outbound or internal")] = ()
    internal_domains: Annotated[tuple[str, ...], Meta(description="Domains whose recipients are ours")] = ()
    trusted_relays: Annotated[tuple[str, ...], Meta(description="Hosts whose mail passes untouched, by address")] = ()
    concurrency: Annotated[PositiveInt, Meta(description="Messages in work at once")] = 64
    timeout_seconds: Annotated[PositiveInt, Meta(description="Time for one message")] = 120
    metrics_listen: Annotated[str, Meta(description="HOST:PORT of the milter's own `/metrics`; empty: none")] = ""


class GatewaySettings(Section, frozen=True, kw_only=True):
    """Used by `toc doctor --mail`."""

    smtp: Annotated[str, Meta(description="HOST:PORT where the gateway takes mail from outside")] = "127.0.0.1:25"
    test_recipient: Annotated[str, Meta(description="Address that the gateway routes to `test_sink`")] = ""
    test_sink: Annotated[str, Meta(description="HOST:PORT on which `toc doctor --mail` waits for it")] = (
        "127.0.0.1:10099"
    )


class SignatureSettings(Section, frozen=True, kw_only=True):
    authserv_id: Annotated[str, Meta(description="Our name in Authentication-Results, such as the mail host's")] = ""
    verify: Annotated[bool, Meta(description="`toc milter` verifies DKIM and ARC before the edit and records it")] = (
        False
    )
    seal: Annotated[Literal["none", "arc", "dkim"], Meta(description="What a mail that we changed gets")] = "none"
    domain: Annotated[str, Meta(description="Domain that seals (d=)")] = ""
    selector: Annotated[str, Meta(description="Selector of its key (s=)")] = ""
    key: Annotated[str, Meta(description="RSA key, PEM, mode 0600 or 0640")] = ""
    nameserver: Annotated[str, Meta(description="ADDRESS or ADDRESS:PORT of the resolver; empty: the system's")] = ""
    dns_timeout_ms: Annotated[PositiveInt, Meta(description="How long the keys of one mail may take together")] = 2000
