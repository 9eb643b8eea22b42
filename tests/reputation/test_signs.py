"""Signs see what a wary person would see, and nothing in ordinary links.

Invariants: a brand's own hosts never imitate it; each code of the table has a case that shows it; a sign is given once.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reputation.brands import Brand, Brands, mixes_scripts, skeleton
from reputation.forms import forms
from reputation.hosting import DYNAMIC_DNS, FREE_HOSTING, SHORTENERS, is_shared
from reputation.signs import POINTS, open_redirect_target, signs
from toc.url import parse
from toc.verdict import Sign

BRANDS = Brands(
    [
        Brand("paypal", ("paypal.com", "paypal.me")),
        Brand("google", ("google.*",)),
        Brand("github", ("github.com",)),
        Brand("apple", ("apple.com",)),
        Brand("steam", ("steampowered.com",)),
    ]
)


def codes(url: str, **more) -> set[str]:
    return {sign.code for sign in signs(forms(parse(url)), brands=BRANDS, **more)}


SHOWN = [
    ("http://paypa1.example/", "lookalike"),
    ("http://user:secret@a.example/", "userinfo"),
    ("http://раypal.example/", "mixed_script"),  # Cyrillic ра before Latin ypal
    ("http://a.duckdns.org/", "free_hosting"),
    ("http://a.github.io/", "free_hosting"),
    ("http://a.example:2222/", "odd_port"),
    ("http://bücher.example/", "punycode"),
    ("http://a.example/go?url=http://b.example/", "open_redirector"),
    ("http://a.example/go?next=https%3A%2F%2Fb.example%2F", "open_redirector"),
    ("http://a.example/?x=1&REDIRECT_URI=http://b.example/", "open_redirector"),
    ("https://protect-eu.mimecast.com/s/AbCdEfGhIjKl?domain=b.example", "hidden_wrapper"),
    ("https://urldefense.com/v3/__http://paypa1.example/__;!!a!b$", "lookalike"),  # inside a wrapper
    ("https://eur01.safelinks.protection.outlook.com/?url=http%3A%2F%2Fu%40a.example%2F&data=1&reserved=0", "userinfo"),
]


@pytest.mark.parametrize(("url", "code"), SHOWN)
def test_what_a_url_shows(url, code):
    assert code in codes(url)


@pytest.mark.parametrize(
    ("more", "code"),
    [({"text_differs": True}, "text_differs"), ({"first_seen_hours": 23.9}, "first_seen"),
     ({"spelt": "http://0x7f.1/"}, "obfuscated_ip")],
)  # fmt: skip
def test_what_the_mail_and_the_record_show(more, code):
    assert codes("http://127.0.0.1/", **more) == {code}


def test_every_sign_of_the_table_has_a_case():
    assert {code for _, code in SHOWN} | {"text_differs", "first_seen", "obfuscated_ip"} == set(POINTS)


ORDINARY = [
    "https://www.example.com/a/b?c=d#e",
    "http://a.example:8080/",
    "https://a.example:8443/",
    "http://192.0.2.1/",
    "http://a.example/go?url=http://www.a.example/",  # to its own domain
    "http://a.example/go?url=b.example",  # no URL
    "http://a.example/go?text=see+http://b.example/",  # no parameter that redirects
    "https://eur01.safelinks.protection.outlook.com/?url=http%3A%2F%2Fa.example%2F&data=1&reserved=0",
    "https://example.co.jp/",
]


@pytest.mark.parametrize("url", ORDINARY)
def test_an_ordinary_url_shows_nothing(url):
    assert codes(url) == set()


@pytest.mark.parametrize(
    ("spelt", "odd"),
    [
        ("http://127.0.0.1/", False), ("http://[::1]/", False), ("HTTP://127.0.0.1:80", False),
        ("http://user@127.0.0.1/", False), ("http://2130706433/", True), ("http://0x7f000001/", True),
        ("http://0177.0.0.1/", True), ("http://127.1/", True), ("http://%31%32%37.0.0.1/", True),
        ("http:\\\\127.1\\", True), ("http://１２７.0.0.1/", True), (" http://127.1", True), ("127.0.0.1", False),
    ],
)  # fmt: skip
def test_an_address_in_an_odd_spelling(spelt, odd):
    assert ("obfuscated_ip" in codes("http://127.0.0.1/", spelt=spelt)) is odd


LOOKS = [
    ("paypa1.example", "paypal", "a digit for a letter"),
    ("раураӏ.example", "paypal", "all Cyrillic"),
    ("paypai.example", "paypal", "one letter changed"),
    ("paypall.example", "paypal", "one too many"),
    ("papyal.example", "paypal", "two swapped"),
    ("aypal.example", "paypal", "one missing"),
    ("ρaypal.example", "paypal", "Greek rho"),
    ("ｐａｙｐａｌ.example", "paypal", "full-width letters, which a browser makes plain ones"),
    ("pay-pal.example", "paypal", "a hyphen inside"),
    ("paypal-login.example", "paypal", "the name between hyphens, in the owner's own label"),
    ("secure.paypa1-login.example", "paypal", "in a sub-host, imitated"),
    ("www.paypa1.evil.example", "paypal", "imitated in a sub-host"),
    ("paypal.com.evil.example", "paypal", "the whole domain in front"),
    ("www-paypal-com.evil.example", "paypal", "and with hyphens"),
    ("paypal.example", "paypal", "the name under another suffix"),
    ("paypal.github.io", "paypal", "the name on shared hosting: its owner chose it"),
    ("app1e.example", "apple", "a short name by its skeleton"),
    ("gooogle.example", "google", "one too many"),
    ("g00gle.fr", "google", "imitated under a suffix where the brand is everywhere"),
    ("google.github.io", "google", "everywhere means public suffixes without an owner"),
    ("paypal.com", None, "its own"),
    ("www.paypal.com", None, "its own"),
    ("paypal.me", None, "its own"),
    ("google.fr", None, "everywhere its own"),
    ("www.google.co.uk", None, "everywhere its own"),
    ("google.com.bd", None, "also under a wildcard rule of the public suffix list"),
    ("paypal.me.evil.example", "paypal", "another of its domains in front"),
    ("paypal.company.example", None, "a service named after the product"),
    ("example.github.io", None, "the public suffix is nobody's choice"),
    ("appl.example", None, "short names have honest neighbours"),
    ("stream.example", None, "steam is too short for one edit"),
    ("papa.example", None, "two edits"),
    ("playpalace.example", None, "a word that contains it in parts"),
    ("paypalooza.example", None, "a word that contains it"),
    ("192.0.2.1", None, "an address has no name"),
    ("paypal", None, "nobody outside reaches a single label"),
]


@pytest.mark.parametrize(("host", "name", "why"), LOOKS)
def test_look_alikes(host, name, why):
    url = parse(f"http://{host}/")
    brand = BRANDS.imitated(url.host, url.domain)
    assert (brand and brand.name) == name, why
    assert BRANDS.may_imitate(url.host) or name is None, why


def test_no_brands_no_look_alikes():
    assert Brands([]).imitated("paypa1.example", "paypa1.example") is None


LABEL = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=12)


@given(labels=st.lists(LABEL, max_size=4), own=st.sampled_from(["paypal.com", "google.de", "github.com"]))
def test_a_brands_own_hosts_never_imitate(labels, own):
    url = parse(f"http://{'.'.join([*labels, own])}/")
    assert BRANDS.imitated(url.host, url.domain) is None


NAMES = ("paypal", "netflix", "linkedin", "santander", "mercadolibre")


@given(
    name=st.sampled_from(NAMES),
    place=st.integers(0, 12),
    letter=st.sampled_from("abdfghjkopqtuxyz-"),
    kind=st.integers(0, 3),
)
def test_every_single_change_of_a_long_name_is_seen(name, place, letter, kind):
    """One letter changed, added, missing, or two swapped (Damerau-Levenshtein), wherever in a name of whatever length."""
    place %= len(name)
    head, tail = name[:place], name[place:]
    changed = (head + letter + tail[1:], head + letter + tail, head + tail[1:], head + tail[:2][::-1] + tail[2:])[kind]
    protected = Brands(Brand(name, (f"{name}.com",)) for name in NAMES)
    brand = protected.imitated(f"{changed}.example", f"{changed}.example")
    assert protected.may_imitate(f"{changed}.example")
    assert brand is not None
    assert brand.name == name


SPELT = {
    "m": "rn",
    "w": "vv",
    "d": "c1",
    "u": "ii",
    "o": "0",
    "l": "1",
    "e": "3",
    "a": "4",
    "s": "5",
    "t": "7",
    "g": "9",
}


@given(
    name=st.sampled_from((*NAMES, "github", "steam", "uni", "wdm")),
    spelt=st.sets(st.sampled_from(sorted(SPELT))),
    hyphens=st.sets(st.integers(1, 11), max_size=3),
    around=st.sampled_from(["{}", "{}-login", "secure-{}", "my-{}-x"]),
    place=st.integers(0, 12),
    drops=st.booleans(),
)
def test_no_spelling_of_a_name_is_overlooked(name, spelt, hyphens, around, place, drops):
    """Digits and pairs for letters, hyphens inside, words around, and of a long name one letter missing: in any mixture."""
    shown = [SPELT.get(letter, letter) if letter in spelt else letter for letter in name]
    if drops and len(name) > 6:
        del shown[place % len(name)]
    label = "".join(f"-{letter}" if at in hyphens else letter for at, letter in enumerate(shown))
    if "-" not in label:
        label = around.format(label)
    protected = Brands([Brand(name, (f"{name}.com",))])
    assert protected.may_imitate(f"www.{label}.example")
    assert protected.imitated(f"www.{label}.example", f"{label}.example") is not None


@given(st.text(max_size=60))
def test_a_skeleton_is_its_own_and_never_raises(text):
    assert skeleton(text) == skeleton(text.upper()) or not text.isascii()
    mixes_scripts(text)


@pytest.mark.parametrize(
    ("label", "mixed"),
    [("paypal", False), ("раураӏ", False), ("рaypal", True), ("ρaypal", True), ("日本go", False), ("한국go", False),
     ("été", False), ("a-1", False), ("աa", True)],
)  # fmt: skip
def test_mixed_scripts(label, mixed):
    assert mixes_scripts(label) is mixed


def test_each_kind_of_sign_is_given_once():
    inner = "http%3A%2F%2Fu%40b.example%3A99%2F"
    wrapped = f"https://x@eur01.safelinks.protection.outlook.com:77/?url={inner}&data=1&reserved=0"
    found = signs(forms(parse(wrapped)), brands=BRANDS)
    assert len({sign.code for sign in found}) == len(found)


def test_points_come_from_the_one_table():
    for sign in signs(forms(parse("http://u@раypal.example:99/?url=http://b.example/")), brands=BRANDS):
        assert sign == Sign(sign.code, POINTS[sign.code], sign.detail)


@pytest.mark.parametrize(
    ("host", "hosting", "shared"),
    [
        ("a.github.io", True, True), ("github.io", True, True), ("notgithub.io", False, False), ("bit.ly", False, True),
        ("a.b.duckdns.org.", True, True), ("example.com", False, False), ("io", False, False),
    ],
)  # fmt: skip
def test_shared_hosts_by_label(host, hosting, shared):
    assert ("free_hosting" in codes(f"http://{host}/"), is_shared(host)) == (hosting, shared)


def test_the_tables_of_hosts_are_plain_hosts():
    for host in FREE_HOSTING | DYNAMIC_DNS | SHORTENERS:
        assert parse(f"http://{host}/").host == host


@given(st.text(max_size=200))
def test_the_target_of_a_redirector_is_always_on_another_domain(text):
    url = parse("http://a.example/").__class__("x", "http", "a.example", None, "/", text, "", "")
    target = open_redirect_target(url)
    assert target is None or target.domain != "a.example"
