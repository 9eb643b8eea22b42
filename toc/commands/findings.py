"""What ``toc doctor`` found: one line each."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """`ok` None: cannot be checked here. `advice`: what to do."""

    what: str
    ok: bool | None
    says: str
    advice: str = ""
