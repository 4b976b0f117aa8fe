"""One number for the bars of a symbol in a month, by which two large sets of bars are compared without moving them."""

from __future__ import annotations

import pyarrow as pa

from pipeline.database.sql import digest

DIGESTS = pa.schema([("symbol", pa.string()), ("month", pa.date32()), ("digest", pa.uint64())])

#: No dividend and no split have several spellings.
_ROW = "date, open, high, low, close, volume, nullif(dividend, 0), nullif(nullif(split_ratio, 0), 1)"


def digest_query(bars: str) -> str:
    """SQL of DIGESTS of `bars`, a query or table with the columns of answers.py from `symbol`, `date` on."""
    return f"""
        SELECT symbol, date_trunc('month', date)::DATE AS month, {digest(_ROW)} AS digest
        FROM {bars} GROUP BY symbol, date_trunc('month', date)
    """
