"""Style and scripts of a page, inside it, and the policy that lets a browser run these and nothing else."""

from __future__ import annotations

import base64
import functools
import hashlib
import pathlib
from collections.abc import Sequence

from markupsafe import Markup

FOLDER = pathlib.Path(__file__).with_name("templates")


@functools.cache
def text(name: str) -> Markup:
    """A file of the templates, to stand in a page as it is."""
    found = (FOLDER / name).read_text(encoding="utf-8")
    assert "</" not in found, f"{name} would end its own element"
    return Markup(found)


def policy(scripts: Sequence[str]) -> str:
    """A Content-Security-Policy for a page with the style and these scripts: nothing is loaded, nothing else runs."""
    running = " ".join(_hash(name) for name in scripts) or "'none'"
    return (
        f"default-src 'none'; style-src {_hash('style.css')}; script-src {running}; base-uri 'none'; form-action 'none'"
    )


@functools.cache
def _hash(name: str) -> str:
    digest = hashlib.sha256(text(name).encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
