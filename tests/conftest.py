"""What all tests share: the order in which they run, and the browser that some of them need."""

from __future__ import annotations

import functools
import os
import subprocess

import pytest

#: Tests run in this order, so that a mistake shows in seconds: unmarked ones first, then by their costliest marker.
ORDER = ("redis", "spark", "browser", "slow")

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def cost(item: pytest.Item) -> int:
    """0 for an unmarked test, else 1 + the place in ORDER of its costliest marker."""
    return max((1 + ORDER.index(mark.name) for mark in item.iter_markers() if mark.name in ORDER), default=0)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=cost)  # stable: within one cost, the order of the files stays


@functools.cache
def find_chromium() -> str | None:
    """A Chromium that starts: the command that CHROMIUM names, else the first of the usual names."""
    for name in [os.environ["CHROMIUM"]] if os.environ.get("CHROMIUM") else BROWSERS:
        try:
            subprocess.run([name, "--version"], check=True, capture_output=True, timeout=60)
        except (OSError, subprocess.SubprocessError):
            continue
        return name
    return None


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("browser") and not find_chromium():
        pytest.skip("no Chromium on the PATH: apt-get install chromium, or name it in CHROMIUM")


@pytest.fixture(scope="session")
def chromium() -> str:
    """Command of a Chromium that starts; only tests marked `browser` ask for it."""
    name = find_chromium()
    assert name, "a test that uses this fixture must be marked `browser`"
    return name
