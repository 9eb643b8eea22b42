"""The link. Invariants: what was sealed opens to the same; nothing else opens; what is stripped changes nothing."""

from __future__ import annotations

import json
import string
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toc import keys, token
from toc.errors import BadLink, StoreNeeded
from toc.token import Direction, Flag, Sealed
from toc.url import parse

FIXTURE = json.loads((Path(__file__).parents[2] / "fixtures" / "tokens.json").read_text())
KEYSET = keys.decode(json.dumps(FIXTURE["keyset"]).encode())
ALPHABET = string.ascii_letters + string.digits + "-_"
HOST = "www.example.com"
SEALED = Sealed("https://www.example.com/a?b=c", datetime(2026, 11, 24, 8, tzinfo=UTC))


def _of(case: dict) -> Sealed:
    flags = case["flags"]
    return Sealed(
        target=case["target"],
        other=case["other"],
        issued=datetime.fromtimestamp(case["issued_hours"] * 3600, UTC),
        message_ref=bytes.fromhex(case["message_ref"]),
        recipient_ref=bytes.fromhex(case["recipient_ref"]),
        profile=case["profile"],
        direction=Direction(flags & 3),
        flags=Flag(flags & 0b1111100),
        key_id=KEYSET.primary.id,
        stored=case["stored"],
    )


@pytest.mark.parametrize("case", FIXTURE["tokens"], ids=lambda case: case["target"][:40])
def test_known_answers_open(case: dict) -> None:
    fields = {
        token.stored_id(token.target_field(row["target"], row["other"]), KEYSET): token.target_field(
            row["target"], row["other"]
        )
        for row in FIXTURE["tokens"]
    }
    assert token.open_token(case["token"], case["host"], KEYSET, fields.get) == _of(case)


@pytest.mark.parametrize("case", [c for c in FIXTURE["tokens"] if c["flags"] < 0x80], ids=lambda c: c["target"][:40])
def test_known_answers_seal(case: dict) -> None:
    assert token.seal(_of(case), case["host"], KEYSET) == case["token"]


@pytest.mark.parametrize("row", FIXTURE["references"], ids=str)
def test_references(row: dict) -> None:
    if "recipient" in row:
        assert token.recipient_ref(row["recipient"], KEYSET).hex() == row["ref"]
    else:
        assert token.message_ref(row["message"].encode(), KEYSET).hex() == row["ref"]


_refs = st.binary(min_size=8, max_size=8)


@given(
    target=st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=300),
    other=st.none() | st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=50),
    hours=st.integers(0, 70_389_527),
    refs=st.tuples(_refs, _refs),
    profile=st.integers(0, 65535),
    flags=st.sampled_from(list(range(0, 128, 4))),
    direction=st.sampled_from(list(Direction)),
)
def test_round_trip(target, other, hours, refs, profile, flags, direction) -> None:
    sealed = Sealed(
        target="https://e.example/" + target,
        other=other,
        issued=datetime.fromtimestamp(hours * 3600, UTC),
        message_ref=refs[0],
        recipient_ref=refs[1],
        profile=profile,
        direction=direction,
        flags=Flag(flags),
        key_id=KEYSET.primary.id,
    )
    text = token.seal(sealed, "e.example", KEYSET)
    assert token.open_token(text, "e.example", KEYSET) == sealed
    base = KEYSET.public_urls[0].href.rstrip("/")
    field = token.target_field(sealed.target, sealed.other)
    assert token.link_length(len(field), len(base), 9) == len(f"{base}/u/e.example/{text}")


def test_sealing_is_deterministic() -> None:
    assert token.seal(SEALED, HOST, KEYSET) == token.seal(SEALED, HOST, KEYSET)


def _tokens(count: int) -> list[tuple[str, str]]:
    return [
        (
            f"h{n}.example",
            token.seal(SEALED._replace(target=f"https://h{n}.example/{n}", profile=n), f"h{n}.example", KEYSET),
        )
        for n in range(count)
    ]


def _opens(host: str, text: str, keyset: keys.Keyset = KEYSET) -> bool:
    try:
        token.open_path(f"{host}/{text}", keyset)
    except BadLink:
        return False
    return True


def _mutants(text: str, step: int) -> set[str]:
    """Every single-bit flip of every character, and every change of one character to another of the alphabet."""
    found = set()
    for place in range(0, len(text), step):
        for bit in range(8):
            found.add(text[:place] + chr(ord(text[place]) ^ (1 << bit)) + text[place + 1 :])
        found.update(text[:place] + other + text[place + 1 :] for other in ALPHABET)
    found.discard(text)
    return found


def _forged_that_open(count: int) -> list[str]:
    wrong = []
    for host, text in _tokens(count):
        for mutant in _mutants(text, 1):
            if token.candidates(mutant) == [text]:
                continue  # only what opening strips differs
            if _opens(host, mutant.replace("%", "%25").replace("/", "%2F").replace("?", "%3F").replace("#", "%23")):
                wrong.append(mutant)
    return wrong


def test_no_changed_token_opens() -> None:
    """Enumerated over 3 tokens; over 1,000 in the long run below."""
    assert _forged_that_open(3) == []


@pytest.mark.long
def test_no_changed_token_opens_of_a_thousand() -> None:
    assert _forged_that_open(1000) == []


def test_every_proper_prefix_and_extension_is_refused() -> None:
    host, text = _tokens(1)[0]
    assert not any(_opens(host, text[:end]) for end in range(len(text)))
    assert not any(_opens(host, text + extra) for extra in ALPHABET.replace("-", "").replace("_", ""))


def test_case_is_never_folded() -> None:
    host, text = _tokens(1)[0]
    assert not _opens(host, text.lower())
    assert not _opens(host, text.upper())


@pytest.mark.parametrize("field", ["tenant", "deployment"])
def test_another_tenant_or_deployment_opens_nothing(field: str) -> None:
    host, text = _tokens(1)[0]
    assert not _opens(host, text, replace(KEYSET, **{field: "other"}))


@pytest.mark.parametrize("host", ["h1.example", "h0.exampl", "H0.example", "-", "", "h0.example."])
def test_a_changed_host_part_is_refused(host: str) -> None:
    _, text = _tokens(1)[0]
    assert not _opens(host, text)


@pytest.mark.parametrize(
    ("glued", "why"),
    [
        ("%3E", "angle bracket of <URL>"),
        (")", "closing bracket"),
        (".", "full stop"),
        ("%E3%82%92", "Japanese particle"),
        ("を", "the same, not encoded"),
        ("%E2%80%8B", "zero-width space"),
        ("=%0D%0A", "soft line break of quoted-printable"),
        ("%20and%20more", "text behind a space"),
        ("-suffix", "hyphen: may belong to a token, so both ends are tried"),
        ("_", "underscore"),
        ("/", "slash"),
        ("?utm=1", "a tracker's query in the path"),
    ],
)
def test_what_clients_glue_behind_a_link_is_stripped(glued: str, why: str) -> None:
    host, text = _tokens(1)[0]
    assert token.open_path(f"{host}/{text}{glued}", KEYSET)[2] == text, why


@pytest.mark.parametrize("inserted", ["%0A", "%0D%0A%20", "=%0D%0A", "%E2%80%8B", "%20", "%C2%AD", "\n"])
def test_breaks_inside_a_link_are_dropped(inserted: str) -> None:
    host, text = _tokens(1)[0]
    for place in (1, 10, len(text) - 1):
        assert token.open_path(f"{host}/{text[:place]}{inserted}{text[place:]}", KEYSET)[2] == text


def test_one_layer_of_percent_encoding_opens_and_two_do_not() -> None:
    host, text = _tokens(1)[0]
    once = "".join(f"%{ord(c):02X}" for c in text)
    assert _opens(host, once)
    assert not _opens(host, once.replace("%", "%25"))


def test_candidates_are_few_and_shortest_first() -> None:
    raw = ("1" + "A" * 70 + "x-") * 50
    found = token.candidates(raw)
    assert len(found) == token.MAX_CANDIDATES
    assert found == sorted(found, key=len)


@given(st.text(max_size=200))
@settings(max_examples=300)
def test_any_path_is_opened_or_refused(path: str) -> None:
    with pytest.raises(BadLink):
        token.open_path(path, KEYSET)


def test_a_stored_link_needs_its_store() -> None:
    text = token.seal(SEALED._replace(stored=True), HOST, KEYSET)
    with pytest.raises(StoreNeeded):
        token.open_token(text, HOST, KEYSET)
    with pytest.raises(BadLink, match="not found"):
        token.open_token(text, HOST, KEYSET, lambda _id: None)
    assert token.open_token(text, HOST, KEYSET, lambda _id: SEALED.target.encode()).target == SEALED.target


def test_a_forged_stored_link_never_reaches_the_store() -> None:
    asked = []
    text = token.seal(SEALED._replace(stored=True), HOST, KEYSET)
    for mutant in _mutants(text, 7):
        try:
            token.open_token(mutant, HOST, KEYSET, asked.append)
        except BadLink:
            continue
    assert asked == []


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("https://WWW.Example.com/", "www.example.com"),
        ("https://例え.jp/", "xn--r8jz45g.jp"),
        ("http://192.0.2.1/", "-"),
        ("http://[2001:db8::1]/", "-"),
        ("http://under_score.example/", "-"),
        ("https://" + "a" * 30 + "." + "b" * 30 + ".example.com/", "b" * 30 + ".example.com"),
        ("https://" + "a." * 60 + "example.com/", "a." * 26 + "example.com"),
        ("https://e.example./", "e.example."),
    ],
)
def test_host_part(url: str, part: str) -> None:
    found = token.host_part(parse(url))
    assert found == part
    assert len(found) <= token.MAX_HOST_PART


def test_blobs_have_their_own_purpose() -> None:
    text = token.seal_blob(b"inverse edits", "restore", KEYSET)
    assert token.open_blob(text, "restore", KEYSET) == b"inverse edits"
    with pytest.raises(BadLink):
        token.open_blob(text, "link", KEYSET)
    for place in range(len(text)):
        changed = text[:place] + ("A" if text[place] != "A" else "B") + text[place + 1 :]
        if changed[:-1] == text[:-1]:
            continue  # the last character has bits that carry nothing
        with pytest.raises(BadLink):
            token.open_blob(changed, "restore", KEYSET)
