"""Databases for the tests of the record."""

from __future__ import annotations

from tests.redirector.databases import database, postgres_server

__all__ = ["database", "postgres_server"]
