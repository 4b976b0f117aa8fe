"""Whole answers, written down in tests/frozen/ and compared whole: a change is seen as a diff, and renewed on purpose.

    scripts/test tests/test_frozen.py --renew

writes them anew. Before an answer is written or compared, `normalised` takes out what differs from run to run.
"""

from __future__ import annotations

import hashlib
import json
import pathlib
import re
from typing import Any

from tests.support.runs import assert_same

FOLDER = pathlib.Path(__file__).parents[1] / "frozen"

#: What differs from run to run, and what stands there instead.
VARIES = (
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?( ?(Z|UTC|[+-]\d\d:?\d\d))?", "MOMENT"),
    (r"\b\d\d:\d\d (?=KST\b)", "TIME "),
    (r"\b\d+\.\d+\.\d+(\+[0-9a-f]{7,40})", "VERSION"),
    (r"\b\d{8}T\d{6}\.\d+Z-[0-9a-f]{12}\b", "MOMENT-DIGEST"),
    (r"\b[0-9a-f]{64}\b", "DIGEST"),
    (r'(?<="bytes": )\d+', '"SIZE"'),
    (r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "ID"),
    (r"\b[0-9a-f]{32}\b", "ID"),
)
#: Figures that no processor and no release of a library may change; the last bits of a float may.
DIGITS = 9


def normalised(text: str, data_dir: pathlib.Path) -> str:
    """The text without moments, versions, digests, ids and the place of its data, and with floats of DIGITS figures."""
    text = text.replace(str(data_dir), "DATA_DIR")
    for pattern, name in VARIES:
        text = re.sub(pattern, name, text)
    return re.sub(r"-?\d+\.\d{6,}(e[+-]\d+)?", lambda found: f"{float(found[0]):.{DIGITS}g}", text)


def as_text(answer: Any) -> str:
    """An answer as JSON, an item a line, so that a diff shows what changed."""
    return json.dumps(answer, indent=1, sort_keys=True, default=str, ensure_ascii=False) + "\n"


def assert_frozen(name: str, text: str, *, renew: bool) -> None:
    """Compare with tests/frozen/NAME, or write it."""
    path = FOLDER / name
    if renew:
        FOLDER.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return
    assert path.is_file(), f"{path} is missing. Next: scripts/test tests/test_frozen.py --renew"
    assert text.splitlines() == path.read_text(encoding="utf-8").splitlines(), (
        f"not what {path} says. Where the change is meant: scripts/test tests/test_frozen.py --renew, and read the diff"
    )


def assert_frozen_tables(name: str, tables: dict[str, list[tuple[Any, ...]]], *, renew: bool = False) -> None:
    """Compare what `results` found with tests/frozen/NAME, as `assert_same` does, or write it.

    Bars are a digest there.
    """
    found = {table: [[_plain(value) for value in row] for row in rows] for table, rows in tables.items()}
    bars = "\n".join(map(str, found["stock_data"]))
    found["stock_data"] = [[len(found["stock_data"]), hashlib.sha256(bars.encode()).hexdigest()]]
    path = FOLDER / name
    if renew:
        lines = (f"{json.dumps(table)}: [\n{_lines(rows)}\n]" for table, rows in found.items())
        path.write_text("{" + ",\n".join(lines) + "}\n", encoding="utf-8")
        return
    assert_same(found, json.loads(path.read_text(encoding="utf-8")))


def _lines(rows: list[list[Any]]) -> str:
    return ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)


def _plain(value: Any) -> Any:
    return value if isinstance(value, bool | int | float | str | None) else str(value)
