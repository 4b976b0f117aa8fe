"""What a user may write as a condition or an order, and what is refused."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import duckdb
import pytest

from pipeline.errors import ExpressionError
from pipeline.watchlist.expressions import condition_columns, order_columns
from pipeline.watchlist.sandbox import sandbox

KNOWN = ("symbol", "name", "close", "volume", "rsi_14", "macd_hist", "prev_macd_hist")


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with sandbox() as opened:
        yield opened


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("rsi_14 < 30", ("rsi_14",)),
        ("macd_hist > 0 and prev_macd_hist <= 0", ("macd_hist", "prev_macd_hist")),
        ("Close BETWEEN 5 AND 10 OR NOT (volume IN (1, 2)) -- a remark", ("close", "volume")),
        ("CASE WHEN rsi_14 IS NULL THEN false ELSE rsi_14 * 2 > close END", ("rsi_14", "close")),
        ("name ILIKE '%bank%' AND abs(close - 1) / greatest(volume, 1) >= 1e-9", ("name", "close", "volume")),
        ("name = 'FROM read_csv(''/etc/passwd''); DROP TABLE x'", ("name",)),
        ("CAST(close AS INTEGER) % 2 = 0 AND close::DOUBLE ** 2 > 4", ("close",)),
        ("true", ()),
    ],
)
def test_allowed_condition(connection: duckdb.DuckDBPyConnection, text: str, columns: tuple[str, ...]) -> None:
    assert condition_columns(connection, text, KNOWN) == columns


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "close > ",
        "close > 1; DROP TABLE day_view",
        "1 = 1); DROP TABLE day_view; --",
        "1 = 1) OR (2 = 2",
        "close > 1 GROUP BY symbol",
        "close > 1 LIMIT 1",
        "close > 1 WINDOW w AS ()",
        "close > 1 USING SAMPLE 1",
        "close > 1 UNION FROM day_view",
        "close > 1) UNION SELECT 1 FROM day_view WHERE (true",
        "close > 1) GROUP BY (symbol",
        "close > 1) LIMIT (1",
        "true) QUALIFY (true",
        "close > (SELECT max(close) FROM day_view)",
        "EXISTS (FROM '/etc/passwd')",
        "symbol IN (SELECT content FROM read_text('/etc/passwd'))",
        "symbol IN (FROM duckdb_settings())",
        "read_text('/etc/passwd') = ''",
        "getenv('HOME') = ''",
        "current_setting('memory_limit') = ''",
        "current_database() = ''",
        "pragma_version() = ''",
        "random() < 0.5",
        "now() > now()",
        "current_date > DATE '2020-01-01'",
        "nextval('s') = 1",
        "error('x') = 1",
        "sum(close) > 1",
        "row_number() OVER () = 1",
        "list_transform([1], lambda x: x)[1] = 1",
        "[x for x in [1]][1] = 1",
        "main.abs(close) > 1",
        "system.main.abs(close) > 1",
        "abs(DISTINCT close) > 1",
        "count(close) FILTER (true) > 1",
        "close > $1",
        "close > ?",
        "#1 > 2",
        "COLUMNS(*) > 1",
        "* > 1",
        "day_view.close > 1",
        "other.day_view.close > 1",
        "repeat('x', 1000000000) = ''",
        "close > 1 " + "OR close > 1 " * 400,
        "(" * 3000 + "true" + ")" * 3000,
    ],
)
def test_refused_condition(connection: duckdb.DuckDBPyConnection, text: str) -> None:
    with pytest.raises(ExpressionError):
        condition_columns(connection, text, KNOWN)


@pytest.mark.parametrize(
    "text", ["close DESC LIMIT 1", "close) FROM x", "ALL", "1; DROP TABLE x", "random()", "close OFFSET 3"]
)
def test_refused_order(connection: duckdb.DuckDBPyConnection, text: str) -> None:
    with pytest.raises(ExpressionError):
        order_columns(connection, text, KNOWN)


def test_order_names_its_columns(connection: duckdb.DuckDBPyConnection) -> None:
    assert order_columns(connection, "volume / close DESC NULLS LAST, symbol", KNOWN) == ("volume", "close", "symbol")


@pytest.mark.parametrize(
    ("text", "nearest"), [("rsi < 30", "rsi_14"), ("clsoe > 1", "close"), ("prev_macdhist > 0", "prev_macd_hist")]
)
def test_unknown_column_names_the_nearest(connection: duckdb.DuckDBPyConnection, text: str, nearest: str) -> None:
    with pytest.raises(ExpressionError, match=rf"nearest: {nearest}\b"):
        condition_columns(connection, text, KNOWN)


@pytest.mark.parametrize(
    "statement",
    [
        "FROM '{file}'",
        "FROM read_text('{file}')",
        "FROM glob('/*')",
        "COPY (SELECT 1) TO '{file}'",
        "ATTACH '{file}'",
        "EXPORT DATABASE '{file}'",
        "LOAD httpfs",
        "INSTALL httpfs",
        "SET enable_external_access = true",
        "SET lock_configuration = false",
        "RESET enable_external_access",
        "FROM local_variable",
    ],
)
def test_sandbox_has_no_way_out(tmp_path: pathlib.Path, statement: str) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("a\n1\n")
    local_variable = duckdb.sql("SELECT 1 AS a").to_arrow_table()
    with sandbox() as opened, pytest.raises(duckdb.Error):
        opened.execute(statement.format(file=secret))
    assert secret.read_text() == "a\n1\n" and local_variable.num_rows == 1


@pytest.mark.parametrize(
    "text", ["1" + "+1" * 900 + " > 0", "NOT " * 400 + "true", "abs(" * 150 + "close" + ")" * 150 + " > 1"]
)
def test_deep_expression_is_refused_in_words(connection: duckdb.DuckDBPyConnection, text: str) -> None:
    with pytest.raises(ExpressionError, match="too deeply"):
        condition_columns(connection, text, KNOWN)


@pytest.mark.parametrize("text", ["1" + "+1" * 70 + " > 0", "true" + " OR close > 1" * 140])
def test_long_expression_that_is_not_deep_is_allowed(connection: duckdb.DuckDBPyConnection, text: str) -> None:
    condition_columns(connection, text, KNOWN)


@pytest.mark.parametrize(
    "power", ["power(-1, 0.5)", "pow(-1, 0.5)", "(-1) ^ 0.5", "(-1) ** 0.5", "exp(1000)", "pow(10, 400)"]
)
def test_what_is_no_number_is_greater_than_none(connection: duckdb.DuckDBPyConnection, power: str) -> None:
    assert connection.execute(f"SELECT {power} > 0").fetchall() == [(None,)]


def test_powers_are_those_of_python(connection: duckdb.DuckDBPyConnection) -> None:
    row = connection.execute("SELECT power(2.5, 3), pow(-2, 3), 9 ^ 0.5, 2 ** -1, exp(1)").fetchone()
    assert row == (2.5**3, -8.0, 3.0, 0.5, pytest.approx(2.718281828459045))
