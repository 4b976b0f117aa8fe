"""Text that came from outside: `clean` where it enters, `shown` or `line` where it leaves to a terminal or a log.

HTML is escaped by Jinja2, JSON by its writer, SQL binds its values; a terminal and a log have no such writer. A name or
a server's message may hold escape sequences (they move the cursor, fill the clipboard), line ends (they forge lines of
a log), marks of direction (they show another text than there is) and half characters (no file can take them).
"""

from __future__ import annotations

import unicodedata

#: No name, sector or message of a server is longer; the rest is cut.
LONGEST = 500

#: Controls, marks of format and direction, half characters, separators of lines and paragraphs. Private and unassigned
#: characters are shown by nothing, too.
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_BLANKS = frozenset("\t\n\v\f\r\x85\u2028\u2029")


def clean(text: str, longest: int = LONGEST) -> str:
    """One line of visible text, at most `longest` characters, which every encoding of Unicode can take.

    Line ends and tabs become spaces, half characters U+FFFD; what else cannot be seen is left out. Idempotent.
    """
    if text.isascii() and text.isprintable() and len(text) <= longest:
        return text.strip()
    return "".join(map(_cleaned, text[: longest * 2])).strip()[:longest].strip()


def _cleaned(character: str) -> str:
    if character in _BLANKS:
        return " "
    kind = unicodedata.category(character)
    return character if kind not in _UNSEEN else "\N{REPLACEMENT CHARACTER}" if kind == "Cs" else ""


def shown(text: str) -> str:
    """The text for a terminal or a log: what cannot be seen is written as Python writes it (`\\x1b`); lines stay."""
    if text.isprintable():
        return text
    return "".join(map(_shown, text))


def line(text: str) -> str:
    """The same for a value that stands among others: its line ends are written out, too."""
    return shown(text).replace("\n", "\\n").replace("\t", "\\t")


def _shown(character: str) -> str:
    if character in "\n\t" or unicodedata.category(character) not in _UNSEEN:
        return character
    return character.encode("unicode_escape").decode("ascii")
