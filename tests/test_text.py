"""Text from outside: what enters is one visible line, what leaves commands no terminal and forges no line of a log."""

from __future__ import annotations

import io
import logging
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.runs.log import LineFormatter
from pipeline.text import LONGEST, clean, shown

ANY = st.text(st.characters())  # half characters among them
UNSEEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("Apple Inc. Common Stock", "Apple Inc. Common Stock"),
        ("Société Générale – 株式会社 🎉", "Société Générale – 株式会社 🎉"),
        ("a\x1b]52;c;ZXZpbA==\x07b", "a]52;c;ZXZpbA==b"),
        ("a\x1b[2Jb\x9b31m", "a[2Jb31m"),
        ("Apple\u202e.cnI\u2066", "Apple.cnI"),
        ("one\n2026-01-01 ERROR two\r\n", "one 2026-01-01 ERROR two"),
        ("half \ud83d", "half \ufffd"),
        ("\u200bx\u2028y\ufeff", "x y"),
        ("", ""),
        ("\x00\x01", ""),
    ],
)
def test_clean(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned


@given(ANY)
def test_what_is_clean_is_visible_encodable_and_stays_so(text: str) -> None:
    cleaned = clean(text)
    cleaned.encode("utf-8")
    assert not any(unicodedata.category(character) in UNSEEN for character in cleaned)
    assert clean(cleaned) == cleaned and len(cleaned) <= LONGEST


@pytest.mark.parametrize("length", [LONGEST - 1, LONGEST, LONGEST + 1, 10 * LONGEST])
def test_clean_text_has_a_longest_length(length: int) -> None:
    assert len(clean("é" * length)) == min(length, LONGEST) == len(clean("e" * length))


@given(ANY)
def test_what_is_shown_keeps_lines_and_hides_nothing(text: str) -> None:
    line = shown(text)
    line.encode("utf-8")
    assert not any(unicodedata.category(character) in UNSEEN for character in line if character not in "\n\t")
    assert line.count("\n") == text.count("\n")


def test_shown_writes_out_what_cannot_be_seen() -> None:
    assert shown("a\x1b[2J\u202eb\ud83d\U000e0041") == "a\\x1b[2J\\u202eb\\ud83d\\U000e0041"


@given(ANY)
def test_one_record_begins_one_line(text: str) -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(LineFormatter("%(levelname)s %(message)s"))
    logger = logging.Logger("tried")
    logger.addHandler(handler)
    logger.warning("%s", text)
    lines = stream.getvalue().removesuffix("\n").split("\n")
    assert lines[0].startswith("WARNING ") and all(line.startswith("    ") for line in lines[1:])
    hidden = {character for character in stream.getvalue() if unicodedata.category(character) in UNSEEN}
    assert hidden <= {"\n", "\t"}


def test_traceback_cannot_forge_a_line_either() -> None:
    try:
        raise ValueError("x\n2026-01-01 00:00:00 ERROR forged\x1b[2J")
    except ValueError:
        record = logging.Logger("tried").makeRecord("a", 40, "f", 1, "failed", (), sys.exc_info())
    text = LineFormatter("%(message)s").format(record)
    assert "\n    2026-01-01 00:00:00 ERROR forged\\x1b[2J" in text
