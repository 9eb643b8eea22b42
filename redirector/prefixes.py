"""Below which paths our links lie. Knows the keyset's public URLs."""

from __future__ import annotations

from toc.keys import Keyset


class Prefixes:
    """The paths of all public URLs, former ones too; made anew when the keyset changes."""

    def __init__(self) -> None:
        self._keyset: Keyset | None = None
        self._found: list[str] = []

    def without(self, path: str, keyset: Keyset) -> str:
        """The path below our base URL: a proxy in front may strip its prefix or not."""
        if keyset is not self._keyset:
            self._keyset = keyset
            self._found = [prefix for url in keyset.public_urls if (prefix := url.path.rstrip("/"))]
        for prefix in self._found:
            if path.startswith(prefix + "/"):
                return path[len(prefix) :]
        return path
