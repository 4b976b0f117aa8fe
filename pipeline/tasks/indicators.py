"""The third stage: technical indicators, computed by Spark from Parquet to Parquet."""

from __future__ import annotations

import datetime as dt
import logging
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline import calendar
from pipeline.config import indicators
from pipeline.database import writing
from pipeline.definitions import job_argument
from pipeline.exchange import exchanged
from pipeline.indicator_columns import add_columns, export_history, load_history
from pipeline.scratch import scratch_folder
from pipeline.spark import SparkJob
from pipeline.tasks.base import Outcome, SessionTask
from pipeline.tasks.prices import CollectPrices

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

logger = logging.getLogger("pipeline")

#: A symbol with fewer bars than this share of the look-back's sessions gets its bars from before it, too.
DENSE = 0.95


class ComputeIndicators(SessionTask, SparkJob):
    """The indicators of every stored bar of the sessions, and of stored indicators whose bars have changed since.

    `work/indicators/` gets the bars as Parquet, bucketed by symbol; one Spark job turns them into Parquet rows of
    `technical_indicators`, which one transaction loads. The database is closed while Spark runs.

    Raises SparkJobError, which names the log file, and JavaNotFoundError.
    """

    table = "technical_indicators"
    follows = (CollectPrices,)
    priority = 70
    resources = {"duckdb": 1, "spark": 1}
    name = "indicators"
    app = str(pathlib.Path(__file__).resolve().parent.parent / "jobs" / "compute_indicators.py")

    def process(self, sessions: Sequence[dt.date]) -> dict[dt.date, Outcome]:
        with scratch_folder("indicators") as scratch:
            self._back_fill_new_columns(scratch / "history")
            folder = scratch / str(sessions[-1])
            (folder / "input").mkdir(parents=True)
            with writing() as connection:
                export_bars(connection, sessions, folder / "input")
            self._compute(folder, job_argument())
            with writing() as connection:
                counts = load_indicators(connection, sessions, folder / "output")
                for session in sessions:
                    self.finish(connection, session)
        return {session: {"rows": counts.get(session, 0)} for session in sessions}

    def _back_fill_new_columns(self, folder: pathlib.Path) -> None:
        """Compute indicators that are new in the configuration for the sessions that were done without them."""
        with writing() as connection:
            definitions = add_columns(connection)
        if not definitions:
            return
        logger.info("filling %s for the sessions before", "; ".join(map(str, definitions)))
        (folder / "input").mkdir(parents=True)
        with writing() as connection:
            export_history(connection, folder / "input")
        self._compute(folder, ",".join(definition.argument for definition in definitions))
        with writing() as connection:
            load_history(connection, definitions, folder / "output")

    def _compute(self, folder: pathlib.Path, argument: str) -> None:
        """Have Spark make `output/` of `input/`."""
        with exchanged(folder) as place:
            self.submit([f"{place}/input", f"{place}/output", "--indicators", argument])


def export_bars(connection: DuckDBPyConnection, sessions: Sequence[dt.date], folder: pathlib.Path) -> None:
    """Write the bars that the job needs, bucketed by symbol and sorted by symbol and date.

    The column `wanted` marks the bars whose indicators are to be computed. Symbols with gaps get their whole history,
    since the bars in the look-back alone are too few for recursive averages to forget how they began.
    """
    window = calendar.session_before(sessions[0], indicators().lookback - 1)
    enough = int(DENSE * indicators().lookback)
    _choose_rows(connection, sessions)
    connection.execute(
        """
        CREATE TEMP TABLE whole_symbols AS
        SELECT symbol FROM stale
        UNION
        SELECT symbol FROM (SELECT DISTINCT symbol FROM wanted_rows) JOIN price_ranges r USING (symbol)
        LEFT JOIN (SELECT symbol, count(*) AS bars FROM stock_data WHERE date BETWEEN $window AND $first GROUP BY symbol)
          USING (symbol)
        WHERE r.first_asked < $window AND coalesce(bars, 0) < $enough
        """,
        {"window": window, "first": sessions[0], "enough": enough},
    )
    connection.execute(
        """
        CREATE TEMP TABLE exported AS
        SELECT b.symbol, b.date, b.open, b.high, b.low, b.close, b.volume, w.symbol IS NOT NULL AS wanted
        FROM stock_data b LEFT JOIN wanted_rows w USING (symbol, date)
        WHERE b.symbol IN (SELECT symbol FROM wanted_rows) AND b.date <= (SELECT max(date) FROM wanted_rows)
          AND (b.date >= $window OR b.symbol IN (FROM whole_symbols))
        """,
        {"window": window},
    )
    for bucket in range(indicators().buckets):
        connection.execute(
            f"""
            COPY (FROM exported WHERE hash(symbol) % $buckets = $bucket ORDER BY symbol, date)
            TO '{_quoted(folder)}/bucket-{bucket:04d}.parquet' (FORMAT parquet, COMPRESSION zstd)
            """,
            {"buckets": indicators().buckets, "bucket": bucket},
        )


def _choose_rows(connection: DuckDBPyConnection, sessions: Sequence[dt.date]) -> None:
    """The temporary tables `stale` (symbols) and `wanted_rows` (symbol, date): what is to be computed."""
    connection.execute("CREATE TEMP TABLE stale AS SELECT DISTINCT symbol FROM stale_indicators")
    connection.execute(
        """
        CREATE TEMP TABLE wanted_rows AS
        SELECT symbol, date FROM price_coverage
        WHERE state = 'stored' AND date IN (SELECT unnest($sessions::DATE[]))
        UNION
        SELECT c.symbol, c.date FROM price_coverage c JOIN stale USING (symbol)
        JOIN table_updates u ON u.update_id = 'ComputeIndicators:' || c.date
        WHERE c.state = 'stored'
        """,
        {"sessions": list(sessions)},
    )


def load_indicators(
    connection: DuckDBPyConnection, sessions: Sequence[dt.date], folder: pathlib.Path
) -> dict[dt.date, int]:
    """Replace the rows of the sessions, and of the symbols that were stale, by the job's; rows by session."""
    _choose_rows(connection, sessions)
    connection.execute(f"CREATE TEMP TABLE computed AS FROM read_parquet('{_quoted(folder)}/*.parquet')")
    connection.execute("DELETE FROM technical_indicators WHERE date IN (SELECT unnest(?::DATE[]))", [list(sessions)])
    connection.execute("DELETE FROM technical_indicators t USING wanted_rows w WHERE t.symbol = w.symbol AND t.date = w.date")
    connection.execute("INSERT INTO technical_indicators BY NAME SELECT * FROM computed ORDER BY date, symbol")
    connection.execute("DELETE FROM stale_indicators WHERE symbol IN (FROM stale)")
    connection.execute(
        """
        UPDATE nasdaq_symbols n SET avg_volume_30 = t.avg_volume_30
        FROM (FROM technical_indicators WHERE date = $newest) t
        WHERE n.symbol = t.symbol AND $newest = (SELECT max(date) FROM technical_indicators)
        """,
        {"newest": sessions[-1]},
    )
    return dict(connection.execute("SELECT date, count(*) FROM computed GROUP BY date").fetchall())


def _quoted(path: pathlib.Path) -> str:
    """A path inside a string of SQL, where DuckDB takes no bound value."""
    return str(path).replace("'", "''")
