"""What the tests of the database share."""

from __future__ import annotations

import pathlib

import pytest

from pipeline.database import query_cache


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The queries that the database was opened for, since no answer to them was kept."""
    queries: list[str] = []
    queried = query_cache._queried

    def counted(path: pathlib.Path, query: str) -> frozenset[str]:
        queries.append(query)
        return queried(path, query)

    monkeypatch.setattr(query_cache, "_queried", counted)
    return queries
