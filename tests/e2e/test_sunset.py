"""When the service has ended: every link opens by the keyset alone, after a page in the reader's language."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import httpx
import pytest

from redirector.negotiate import LANGUAGES
from redirector.pages import load_catalogue
from redirector.words import TEXTS, TITLES, Page
from tests.e2e.conftest import READER, Service, serve, start, stop
from tests.e2e.load import sealed_paths


@pytest.fixture(scope="module")
def sunset(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Settings and keyset are all that is left."""
    folder = tmp_path_factory.mktemp("sunset")
    full = start(folder / "full" if (folder / "full").mkdir() is None else folder)
    assert stop(full) == 0
    (folder / "left").mkdir()
    for name in ("toc.toml", "keyset.json"):
        shutil.copy2(full.settings.parent / name, folder / "left" / name)
    service = serve(folder, folder / "left" / "toc.toml", "", "--sunset")
    yield service
    assert stop(service) == 0
    assert not (folder / "left" / "toc.db").exists()


@pytest.fixture(scope="module")
def link(sunset: Service) -> str:
    return sunset.public + sealed_paths(sunset.settings.parent / "keyset.json", 1, "old.example")[0]


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_says_in_every_language_that_nobody_checked(sunset: Service, link: str, language: str) -> None:
    answer = sunset.click(link, headers={"Accept-Language": language})
    words = load_catalogue(language)
    assert answer.status_code == 200
    assert "location" not in answer.headers
    for text in (TITLES[Page.SUNSET], TEXTS[Page.SUNSET]):
        assert (words[text] if language != "en" else text) in answer.text
    assert "https://old.example/0" in answer.text


def test_its_button_leads_on_and_nothing_else_does(sunset: Service, link: str) -> None:
    nonce = sunset.nonce(link)
    went = httpx.post(link, data={"do": "proceed", "nonce": nonce}, headers=READER)
    assert (went.status_code, went.headers["location"]) == (303, "https://old.example/0")
    for fields, headers in (
        ({"do": "proceed", "nonce": nonce[:-1]}, READER),
        ({"nonce": nonce}, READER),
        ({"do": "proceed", "nonce": nonce}, {**READER, "Sec-Fetch-Site": "cross-site"}),
    ):
        refused = httpx.post(link, data=fields, headers=headers)
        assert refused.status_code == 403
        assert "location" not in refused.headers
    assert sunset.click(link[:-3] + "AAx").status_code == 404
    assert httpx.get(sunset.public + "/healthz").status_code == 200
