"""A URL is looked up under every spelling by which a list may know it, and never under one that covers more than it.

Conformance with Safe Browsing's own cases: tests/conformance/test_safebrowsing.py.
"""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reputation.forms import MAX_HOST, Reading, canonical, expressions, forms, host_suffixes, ipv4, lookup_hosts
from toc.errors import BadUrl
from toc.url import parse


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://host/%25%32%35", "http://host/%25"),  # unescaped until nothing is left, then escaped once
        ("http://host/%25%32%35%25%32%35", "http://host/%25%25"),
        ("http://host/%2525252525252525", "http://host/%25"),
        ("http://host/asdf%25%32%35asd", "http://host/asdf%25asd"),
        ("http://host/%%%25%32%35asd%%", "http://host/%25%25%25asd%25%25"),
        ("http://www.google.com/blah/..", "http://www.google.com/"),
        ("www.google.com/", "http://www.google.com/"),
        ("http://www.evil.com/blah#frag", "http://www.evil.com/blah"),
        ("http://www.GOOgle.com/", "http://www.google.com/"),
        ("http://www.google.com.../", "http://www.google.com/"),
        ("http://host.com//twoslashes?more//slashes", "http://host.com/twoslashes"),
        ("http://user:pass@host.com:81/a/./b/", "http://host.com/a/b/"),
        ("http://0x7f.1/", "http://127.0.0.1/"),
    ],
)
def test_canonical_form(url, expected):
    assert canonical(url) == expected


def test_nested_escapes_take_linear_time():
    depth = 200_000  # by repeated passes this would be 200,000 passes over 400 KB
    assert canonical("http://h/%" + "25" * depth + "41") == "http://h/A"


def test_at_most_thirty_expressions_for_the_longest_url():
    found = expressions("http://a.b.c.d.e.f.g/1/2/3/4/5/6.html?x=1")
    assert len(found) == 30
    assert found[0] == "a.b.c.d.e.f.g/1/2/3/4/5/6.html?x=1"
    assert "c.d.e.f.g/1/2/3/" in found
    assert not any(expression.startswith(("b.c.d", "g/")) for expression in found)


def test_hosts_of_an_address_are_only_itself():
    assert lookup_hosts("192.0.2.1") == ["192.0.2.1"]
    assert host_suffixes("192.0.2.1") == ("192.0.2.1",)
    assert host_suffixes("[2001:db8::1]") == ("[2001:db8::1]",)


def test_host_suffixes_are_bounded_by_what_dns_allows():
    assert host_suffixes("a.b.example") == ("a.b.example", "b.example", "example")
    assert len(host_suffixes("a." * 5000 + "example")) <= MAX_HOST // 2 + 1


@pytest.mark.parametrize("text", ["", "a.b", "256.1.1.1", "1.2.3.4.5", "08", "0x", "1..2", "-1"])
def test_what_is_no_address(text):
    assert ipv4(text) == ""


plain = st.text("abc.-%/?=&@:0123456789ABCDEFabcdef\\# \u4f8b\u3042\t", max_size=80)


@given(plain)
def test_canonical_form_is_canonical_already(rest):
    """Canonicalising twice changes nothing but a doubled escape of ``%`` itself, which the rule demands."""
    try:
        once = canonical(f"http://h.example/{rest}")
    except BadUrl:
        return
    if "%25" not in once and "%23" not in once and "%3F" not in once:
        assert canonical(once) == once


@given(st.text(max_size=200))
def test_any_text_has_forms_or_is_refused(text):
    try:
        url = parse(f"http://h.example/{text}")
    except BadUrl:
        return
    found = forms(url, text)
    assert found.readings[0].url is url
    assert found.names()[0] == url.href
    assert 1 <= len(found.readings[0].expressions) <= 30


@given(st.text(max_size=100))
def test_expressions_of_a_parsed_url_are_those_of_its_text(text):
    """The short way for URLs without escapes gives what the whole canonicalisation gives."""
    url = parse("http://a.b.example/" + text.replace("\\", ""))
    assert Reading(url).expressions == expressions(url.href)


def test_the_other_reading_is_looked_up_too():
    found = forms(parse("http://a.example/x"), "http://b.example/y")
    assert [(reading.name, reading.host) for reading in found.readings] == [
        ("", "a.example"),
        ("other_reading", "b.example"),
    ]
    assert len(forms(parse("http://a.example/"), "no url").readings) == 1


def test_layers_of_wrappers_are_looked_up_too():
    wrapped = "https://www.google.com/url?q=http%3A%2F%2Fevil.example%2Fx&source=gmail&ust=1&usg=2"
    layers = [reading for reading in forms(parse(wrapped)).readings if reading.name.startswith("layer:")]
    assert [(reading.name, reading.host) for reading in layers] == [("layer:google", "evil.example")]


def test_a_wrapper_in_a_wrapper_gives_both_and_a_hidden_target_none():
    inner = "https://www.google.com/url?q=http%3A%2F%2Fevil.example%2Fx"
    outer = "https://eu1.safelinks.protection.outlook.com/?url=" + quote(inner, safe="")
    assert [reading.host for reading in forms(parse(outer)).readings[1:]] == ["www.google.com", "evil.example"]
    hidden = "https://protect-eu.mimecast.com/s/abcdefgh?domain=evil.example"
    assert len(forms(parse(hidden)).readings) == 1


def test_names_show_punycode_and_unicode():
    names = forms(parse("http://例え.example:8080/道?q=1")).names()
    assert "xn--r8jz45g.example" in names
    assert "例え.example" in names
    assert len(set(names)) == len(names)
