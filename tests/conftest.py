"""What all tests share: the long runs, the corpus beside the checkout, and servers that may be missing."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if os.environ.get("TOC_LONG") == "1":
        return
    mark = pytest.mark.skip(reason="takes minutes; TOC_LONG=1 runs it")
    for item in items:
        if "long" in item.keywords:
            item.add_marker(mark)


def corpus_path() -> Path | None:
    """The third-party material: `TOC_CORPUS`, else ``shared/corpus`` beside the checkout."""
    given = os.environ.get("TOC_CORPUS")
    path = Path(given) if given else ROOT.parent / "shared" / "corpus"
    return path if path.is_dir() else None


@pytest.fixture(scope="session")
def corpus() -> Path:
    path = corpus_path()
    if path is None:
        pytest.skip("the third-party corpus is not beside the checkout; TOC_CORPUS names its folder")
    return path


def require_program(name: str, *more_places: str) -> str:
    """Path of a server program. Without it the test is skipped, or fails where `TOC_REQUIRE_SERVERS` is set."""
    places = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin", *more_places])
    path = shutil.which(name, path=places)
    if path is None:
        if os.environ.get("TOC_REQUIRE_SERVERS"):
            pytest.fail(f"{name} is required here and not installed")
        pytest.skip(f"{name} is not installed; scripts/test installs it on Debian as root")
    return path
