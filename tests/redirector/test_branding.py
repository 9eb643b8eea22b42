"""What an operator puts on the pages.

Invariants: a value that would spoil a page is refused at start with one line that names it; a template that breaks, or that
leaves out what a page is for, is refused and the built-in page serves; what is accepted shows on the page.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from redirector.branding import DEFAULT_COLOUR, MAX_LOGO, Branding, load_branding
from redirector.pages import Renderer, Story
from redirector.words import Page
from toc.config import convert
from toc.errors import ConfigError

STORY = Story(
    Page.WARNING,
    url="https://a.musterbank.example/?b&c",
    host="a.musterbank.example",
    domain="musterbank.example",
    reference="00112233",
    nonce="the-nonce",
    action_path="h/t",
)
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"><path d="M0 0h1v1z"/></svg>'
PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)


def loaded(folder: Path, **pages: object) -> Branding:
    service = {"public_url": "https://toc.example", "contact": "Help desk, phone 4711"}
    return load_branding(convert({"service": service, "pages": pages, "base": str(folder)}, "toc.toml"))


def shown(branding: Branding, language: str = "en") -> str:
    renderer = Renderer(branding)
    assert renderer.refused is None
    return renderer.render(STORY, language, None).decode()


def test_name_contact_and_text(tmp_path: Path) -> None:
    branding = loaded(tmp_path, name="Musterwerk <AG>", texts={"de": "Rufen Sie uns an."})
    assert "Musterwerk &lt;AG&gt;" in shown(branding)
    assert "Help desk, phone 4711" in shown(branding)
    assert "Rufen Sie uns an." in shown(branding, "de")
    assert "Rufen Sie uns an." not in shown(branding)


@pytest.mark.parametrize(
    ("contact", "url"),
    [
        ("security@musterwerk.example", "mailto:security@musterwerk.example"),
        ("https://help.musterwerk.example/", "https://help.musterwerk.example/"),
        ("Help desk, phone 4711", ""),
        ("javascript:alert(1)", ""),
        ("a@b.example?body=x", ""),
        ("http://help.musterwerk.example/", ""),
        ("", ""),
    ],
)
def test_contact(contact: str, url: str) -> None:
    assert Branding(contact=contact).contact_url == url


def test_colour(tmp_path: Path) -> None:
    style = Renderer(loaded(tmp_path, colour="#7a1f3d")).static_files()["page.css"][1]
    assert b"--brand: #7a1f3d" in style
    assert DEFAULT_COLOUR.encode() not in style


@pytest.mark.parametrize("body", [SVG, PNG], ids=["svg", "png"])
def test_logo(tmp_path: Path, body: bytes) -> None:
    (tmp_path / "logo").write_bytes(body)
    branding = loaded(tmp_path, logo="logo")
    assert Renderer(branding).static_files()[branding.logo_name][1] == body
    assert f"static/{branding.logo_name}?" in shown(branding)


@pytest.mark.parametrize(
    ("pages", "words"),
    [
        ({"colour": "red"}, "#rrggbb"),
        ({"colour": "#ffffff"}, "contrast"),
        ({"colour": "#8a8a8a"}, "contrast"),
        ({"texts": {"xx": "?"}}, "xx"),
        ({"logo": "absent.svg"}, "absent.svg"),
    ],
)
def test_refused_values(tmp_path: Path, pages: dict, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        loaded(tmp_path, **pages)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"GIF89a", "neither"),
        (b"", "neither"),
        (SVG.replace(b"<path", b"<script>alert(1)</script><path"), "neither"),
        (SVG.replace(b"<path", b'<path onload="alert(1)"'), "neither"),
        (SVG.replace(b"<path", b'<a href="javascript:alert(1)"/><path'), "neither"),
        (b'<!DOCTYPE svg [<!ENTITY a "b">]>' + SVG, "neither"),
        (SVG.replace(b"<path", b'<image href="https://elsewhere.example/a.png"/><path'), "neither"),
        (SVG.replace(b"<path", b"<foreignObject/><path"), "neither"),
        (PNG + bytes(MAX_LOGO), "limit"),
    ],
)
def test_refused_logos(tmp_path: Path, body: bytes, words: str) -> None:
    (tmp_path / "logo").write_bytes(body)
    with pytest.raises(ConfigError, match=words):
        loaded(tmp_path, logo="logo")


OWN = """<html><h1>{{ title }}</h1>{{ branding.name }} {{ story.url }} {{ host_head }}{{ host_domain }} {{ story.reference }}
{% if story.nonce %}{{ story.nonce }}{% endif %}</html>"""


def renderer_with(folder: Path, template: str) -> Renderer:
    (folder / "own").mkdir()
    (folder / "own" / "page.html").write_text(template, "utf-8")
    return Renderer(loaded(folder, name="Musterwerk", templates="own"))


def test_own_template_serves(tmp_path: Path) -> None:
    renderer = renderer_with(tmp_path, OWN)
    assert renderer.refused is None
    assert renderer.render(STORY, "en", None).startswith(b"<html><h1>")


def test_own_template_may_build_on_ours(tmp_path: Path) -> None:
    renderer = renderer_with(
        tmp_path, '{% extends "built-in/page.html" %}{% block header %}<header>OWN</header>{% endblock %}'
    )
    assert renderer.refused is None
    text = renderer.render(STORY, "de", None).decode()
    assert "<header>OWN</header>" in text
    assert "the-nonce" in text


@pytest.mark.parametrize(
    ("template", "words"),
    [
        (OWN + "\n{% if %}", "line 3"),
        (OWN + "{{ no_such_name }}", "no_such_name"),
        (OWN + "{{ story.no_such_field }}", "no_such_field"),
        (OWN + "{{ 1 / 0 }}", "ZeroDivisionError"),
        (OWN + "{% include 'absent.html' %}", "absent.html"),
        (OWN.replace("{{ story.nonce }}", ""), "the nonce"),
        (OWN.replace("{{ story.url }}", ""), "the URL"),
        (OWN.replace("{{ story.reference }}", ""), "the reference"),
        ("", "does not show"),
    ],
)
def test_a_broken_template_is_refused_and_ours_serves(tmp_path: Path, template: str, words: str) -> None:
    renderer = renderer_with(tmp_path, template)
    assert isinstance(renderer.refused, ConfigError)
    assert words in str(renderer.refused)
    assert "own/page.html" in str(renderer.refused)
    assert renderer.render(STORY, "en", None) == Renderer(loaded(tmp_path, name="Musterwerk")).render(STORY, "en", None)


def test_a_folder_without_template_is_refused(tmp_path: Path) -> None:
    renderer = Renderer(loaded(tmp_path, templates="nowhere"))
    assert "page.html" in str(renderer.refused)
    assert b"the-nonce" in renderer.render(STORY, "en", None)


def test_a_template_that_breaks_later_gives_way_to_ours(tmp_path: Path) -> None:
    """It passed every trial at start, but not this click."""
    renderer = renderer_with(tmp_path, OWN + "{% if story.host == 'a.musterbank.example' %}{{ 1 / 0 }}{% endif %}")
    assert renderer.refused is None
    assert b"the-nonce" in renderer.render(STORY, "en", None)
