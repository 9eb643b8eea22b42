"""DNS answers, fails or keeps silent: a mail is judged by what came within the deadline, and never waits longer."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import dkim
import pytest
import pytest_asyncio

from rewriter.milter.changes import Field, on_top
from tests.dkim_keys import signer
from tests.key_server import KeyServer, key_server
from toc.config import Config, convert
from toc.errors import ConfigError, KeysetError
from toc.sealing import Sealing

THEIRS, OURS = signer("example.org"), signer("example.net", "toc")
MAIL = THEIRS.sign(b"From: a@example.org\r\nTo: b@example.net\r\nSubject: x\r\n\r\nSee https://e.org/a\r\n")
NAME = THEIRS.name.decode()


def settings(folder: Path, **chosen: object) -> Config:
    key = folder / "key.pem"
    key.write_bytes(OURS.private)
    key.chmod(0o600)
    whole = {
        "authserv_id": "mx.example.net", "verify": True, "seal": "arc", "domain": "example.net", "selector": "toc",
        "key": "key.pem", "dns_timeout_ms": 300,
    }  # fmt: skip
    return convert({"base": str(folder), "signatures": whole | chosen}, "toc.toml")


@pytest.fixture
def keys() -> Iterator[KeyServer]:
    with key_server(THEIRS, OURS) as running:
        yield running


@pytest_asyncio.fixture
async def sealing(keys: KeyServer, tmp_path: Path) -> AsyncIterator[Sealing]:
    async with Sealing.open(settings(tmp_path, nameserver=keys.address)) as opened:
        assert opened is not None
        yield opened


async def result(sealing: Sealing, raw: bytes = MAIL) -> bytes:
    async with asyncio.timeout(30):  # the deadline is 0.3 s; processes of a busy machine take their time to start
        field = (await sealing.check(raw)).field
    assert field is not None
    return field.value.partition(b"dkim=")[2].split(b" ")[0]


async def test_an_answer_lets_the_signature_pass(sealing: Sealing, keys: KeyServer) -> None:
    assert await result(sealing) == b"pass"
    assert await result(sealing) == b"pass"
    assert keys.asked == [NAME], "the second mail is judged by the answer that is remembered"


async def test_no_such_name_is_permanent(sealing: Sealing, keys: KeyServer) -> None:
    keys.records.clear()
    assert await result(sealing) == b"permerror"


async def test_a_server_that_fails_is_temporary(sealing: Sealing, keys: KeyServer) -> None:
    keys.failing.add(NAME)
    assert await result(sealing) == b"temperror"


async def test_silence_is_temporary_and_costs_only_the_deadline(sealing: Sealing, keys: KeyServer) -> None:
    keys.silent.add(NAME)
    assert await result(sealing) == b"temperror"
    keys.silent.clear()
    assert await result(sealing) == b"pass"


async def test_one_silent_name_does_not_cost_the_others(sealing: Sealing, keys: KeyServer) -> None:
    slow = signer("slow.example")
    keys.silent.add(slow.name.decode())
    field = (await sealing.check(slow.sign(MAIL))).field
    assert field is not None
    assert [part.split(b" ")[0] for part in field.value.split(b"\r\n\t")[1:]] == [b"dkim=temperror", b"dkim=pass"]


async def test_a_seal_verifies_by_the_key_in_dns(sealing: Sealing) -> None:
    checked = await sealing.check(MAIL)
    assert checked.field is not None
    after = on_top([checked.field], MAIL.replace(b"e.org", b"links.example.net"))
    sealed = on_top(await sealing.seal(after), after)
    assert dkim.ARC(sealed).verify(dnsfunc=lambda name, timeout=5: {OURS.name: OURS.record}[name])[0] == dkim.CV_Pass


async def test_what_cannot_be_sealed_leaves_unsealed(sealing: Sealing) -> None:
    field = Field(b"Authentication-Results", b" mx.example.net; dkim=none")
    assert await sealing.seal(on_top([field], b"Subject: no sender\r\n\r\nx")) == ()


async def test_a_process_that_dies_costs_one_mail_its_result(sealing: Sealing) -> None:
    assert await result(sealing) == b"pass"
    for process in multiprocessing.active_children():
        process.kill()
        process.join()
    assert await result(sealing) == b"temperror"
    assert await result(sealing) == b"pass"


async def test_nothing_asked_for_is_nothing_done(tmp_path: Path) -> None:
    async with Sealing.open(settings(tmp_path, verify=False, seal="none")) as opened:
        assert opened is None


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"authserv_id": ""}, "authserv_id is needed"),
        ({"domain": ""}, "domain is needed"),
        ({"selector": ""}, "selector is needed"),
        ({"key": ""}, "key is needed"),
        ({"key": "toc.toml"}, "key: no PEM key"),
        ({"nameserver": "ns.example.org"}, "nameserver"),
    ],
)
async def test_wrong_settings_are_refused_at_start(tmp_path: Path, wrong: dict[str, str], says: str) -> None:
    (tmp_path / "toc.toml").touch(0o600)
    with pytest.raises(ConfigError, match=says):
        async with Sealing.open(settings(tmp_path, **wrong)):
            pass


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o601])
async def test_a_key_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    config = settings(tmp_path)
    (tmp_path / "key.pem").chmod(mode)
    with pytest.raises(KeysetError, match=r"signing key .* has mode"):
        async with Sealing.open(config):
            pass
