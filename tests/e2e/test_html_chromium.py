"""What a browser makes of HTML before and after rewriting: judged by Chromium without scripting, not by opinion.

Invariants, for every document: the tree is the same but for navigational values and the anchors that we insert; every
navigable http(s) target in it is ours. Documents: the attack catalogue, the corpus' templates and the HTML parts of its mails.
Nothing is fetched: each request but that of the document itself is refused.
"""

from __future__ import annotations

import email
import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Route, sync_playwright

from rewriter.edit import apply
from rewriter.html import rewrite_html
from rewriter.options import Options
from tests.conftest import ROOT, require_program
from tests.reversible import PREFIX, protect

HERE = "http://mail.example/"
ATTACKS = [json.loads(line) for line in (ROOT / "fixtures" / "html_attacks.jsonl").read_text("utf-8").splitlines()]
STEP = 1 if os.environ.get("TOC_LONG") == "1" else 8
"""Of the corpus' HTML parts, one in so many."""

LOOK = """() => {
  const moving = {a: ['href', 'xlink:href'], area: ['href'], form: ['action'], button: ['formaction'],
    input: ['formaction'], iframe: ['src', 'srcdoc'], frame: ['src'], embed: ['src'], object: ['data'],
    applet: ['codebase'], portal: ['src'], animate: ['to', 'from', 'by', 'values'],
    set: ['to', 'from', 'by', 'values'], isindex: ['action']};
  const tree = [], targets = [];
  const absolute = value => { try { return new URL(value, document.baseURI).href; } catch { return ''; } };
  const note = value => { const url = absolute(value); if (/^https?:/.test(url)) targets.push(url); };
  const refresh = value => {
    const wide = String.raw`[\\t-\\r \\u1680\\u2000-\\u200a\\u2028\\u205f\\u3000]`;  // Chromium's white space
    const time = String.raw`^${wide}*(?:\\d+[\\d.]*|\\.[\\d.]*)(?:${wide}*[;,]|(?=${wide}))${wide}*([^]*)$`;
    const found = new RegExp(time).exec(value);
    if (!found || !found[1]) return;
    const url = found[1].replace(/^url[\\t\\n\\f\\r ]*=[\\t\\n\\f\\r ]*/i, '').trim();
    const quoted = /^(['"])([^]*?)(?:\\1|$)/.exec(url), chromium = /^(['"])([^]*)\\1/.exec(url);
    note(quoted ? quoted[2].trim() : url);
    if (chromium) note(chromium[2].trim());
  };
  const text = value => {
    const last = tree[tree.length - 1];
    if (typeof last === 'string') tree[tree.length - 1] = last + value; else tree.push(value);
  };
  const walk = node => {
    for (const child of node.childNodes) {
      if (child.nodeType === Node.TEXT_NODE) { text(child.data); continue; }
      if (child.nodeType === Node.COMMENT_NODE) continue;
      if (child.nodeType !== Node.ELEMENT_NODE) { tree.push([child.nodeType]); continue; }
      const name = child.localName, html = child.namespaceURI.endsWith('xhtml');
      const ours = html && name === 'a' && (child.getAttribute('href') || '').startsWith(PREFIX) &&
        child.getAttribute('style') === 'color:inherit;text-decoration:inherit' && child.attributes.length === 2;
      if (html && (name === 'a' || name === 'area') && child.hasAttribute('href')) note(child.getAttribute('href'));
      if (!html && name === 'a' && child.href) note(child.href.baseVal);
      const math = child.namespaceURI.endsWith('MathML');
      if (math && child.hasAttribute('href')) note(child.getAttribute('href'));
      if (html && name === 'form' && child.hasAttribute('action')) note(child.getAttribute('action'));
      if (html && ['button', 'input'].includes(name) && child.hasAttribute('formaction')) note(child.getAttribute('formaction'));
      if (html && ['iframe', 'frame', 'embed'].includes(name) && child.hasAttribute('src')) note(child.getAttribute('src'));
      if (html && name === 'object' && child.hasAttribute('data')) note(child.getAttribute('data'));
      const isRefresh = html && name === 'meta' && (child.getAttribute('http-equiv') || '').toLowerCase() === 'refresh';
      if (isRefresh && child.hasAttribute('content')) refresh(child.getAttribute('content'));
      if (ours) { walk(child); continue; }
      const skipped = [...(moving[name] || []), ...(math ? ['href', 'xlink:href'] : [])];
      const kept = [...child.attributes].filter(a => !skipped.includes(a.name) && !(isRefresh && a.name === 'content'))
        .map(a => [a.name, a.value]).sort();
      const vml = name.includes(':') ? kept.filter(a => !/^(xlink:)?href$/.test(a[0])) : kept;
      tree.push([child.namespaceURI, name, vml]);
      if (child.shadowRoot) { tree.push(['shadow']); walk(child.shadowRoot); tree.push(['/shadow']); }
      if (child.content instanceof DocumentFragment) walk(child.content);
      walk(child);
      tree.push(['/' + name]);
    }
  };
  walk(document);
  return [tree, targets];
}""".replace("PREFIX", json.dumps(PREFIX))


@pytest.fixture(scope="module")
def browser_page() -> Iterator[Page]:
    program = require_program("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        context = browser.new_context(java_script_enabled=False, service_workers="block")
        yield context.new_page()
        browser.close()


def seen(page: Page, html: str) -> tuple[list[Any], list[str]]:
    """The tree, and the navigable http(s) targets."""
    page.unroute_all()

    def answer(route: Route) -> None:
        if route.request.url == HERE and route.request.is_navigation_request():
            route.fulfill(body=html.encode("utf-8", "replace"), content_type="text/html; charset=utf-8")
        elif route.request.is_navigation_request():
            route.fulfill(status=204)  # a refresh or a frame: nothing takes the document's place
        else:
            route.abort()

    page.route("**/*", answer)
    page.goto(HERE, wait_until="domcontentloaded")
    tree, targets = page.evaluate(LOOK)
    return tree, targets


def faults(page: Page, html: str, *, inert: bool = True, other_reading: bool = False) -> list[str]:
    """What is wrong after rewriting.

    inert:         the document need not have a foreign target in this browser
    other_reading: what is a link for another browser is text in this one, and changes
    """
    result = rewrite_html(html, part="1", protect=protect, options=Options())
    output = apply(html, result.edits)
    tree, targets = seen(page, html)
    new_tree, new_targets = seen(page, output)
    found = []
    if not inert and not any(is_foreign(url) for url in targets):
        found.append("no attack: the browser sees no foreign target")
    if left := [url for url in new_targets if is_foreign(url)]:
        found.append(f"left: {left}")
    if tree != new_tree and not other_reading:
        place = next((n for n, (a, b) in enumerate(zip(tree, new_tree, strict=False)) if a != b), -1)
        found.append(f"the tree differs: {tree[place : place + 2]} became {new_tree[place : place + 2]}")
    if not result.sound:
        found.append("not proven")
    return found


def is_foreign(url: str) -> bool:
    return not url.startswith((PREFIX, HERE))


def test_the_attack_catalogue(browser_page: Page) -> None:
    failures = [
        f"{case['id']} ({case['why']}): {found}"
        for case in ATTACKS
        if (
            found := faults(
                browser_page, **{"inert": False} | {k: v for k, v in case.items() if k not in ("id", "why")}
            )
        )
    ]
    assert not failures, f"{len(failures)} of {len(ATTACKS)}:\n" + "\n".join(failures)
    assert len(ATTACKS) > 200


def html_parts(corpus: Path) -> Iterator[tuple[str, str]]:
    for path in sorted((corpus / "email_templates").glob("*.html")):
        yield path.name, path.read_text("utf-8", "replace")
    for archive in sorted((corpus / "mail_share").glob("*.tar.gz")):
        with tarfile.open(archive) as tar:
            for member in tar:
                file = tar.extractfile(member) if member.isfile() else None
                content = file.read() if file is not None else b""
                for number, part in enumerate(email.message_from_bytes(content).walk()):
                    payload = part.get_payload(decode=True) if part.get_content_type() == "text/html" else None
                    if isinstance(payload, bytes):
                        yield f"{member.name} part {number}", payload.decode("utf-8", "replace")


def test_the_html_of_the_corpus(browser_page: Page, corpus: Path) -> None:
    chosen = [item for number, item in enumerate(html_parts(corpus)) if number % STEP == 0]
    failures = [f"{name}: {found}" for name, html in chosen if (found := faults(browser_page, html))]
    assert not failures, f"{len(failures)} of {len(chosen)}:\n" + "\n".join(failures)
