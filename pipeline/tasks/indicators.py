"""The third stage: technical indicators, computed by Spark from Parquet to Parquet."""

from __future__ import annotations

import datetime as dt
import logging
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pipeline.config import ROOT
from pipeline.database.connection import writing
from pipeline.database.markers import RowTarget
from pipeline.errors import BarsChangedError
from pipeline.host.scratch import scratch_folder
from pipeline.indicators.spark.submit import SparkJob
from pipeline.tasks.base import Outcome, SessionTask
from pipeline.tasks.prices import CollectPrices

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

logger = logging.getLogger("pipeline")

#: Tables that no other run may write between the two moments at which the database is open.
KEPT_STILL = ("stock_data", "technical_indicators")


class ComputeIndicators(SessionTask, SparkJob):
    """The indicators of every stored bar of the sessions, and of stored indicators whose bars have changed since.

    `work/indicators/` gets the bars as Parquet, bucketed by symbol; one Spark job turns them into Parquet rows of
    `technical_indicators`, which one transaction loads. The database is closed while Spark runs.

    Raises SparkJobError, which names the log file, JavaNotFoundError, and BarsChangedError, which leaves all as it is.
    """

    table = "technical_indicators"
    heading = "indicators"
    rows = (("technical_indicators", "date"),)
    follows = (CollectPrices,)
    priority = 70
    resources = {"duckdb": 1, "spark": 1}
    name = "indicators"
    app = str(ROOT / "pipeline" / "indicators" / "job.py")

    def process(self, sessions: Sequence[dt.date]) -> dict[dt.date, Outcome]:
        from pipeline.indicators.bars import export_bars, load_indicators
        from pipeline.indicators.definitions import job_argument

        with scratch_folder("indicators") as scratch:
            self._back_fill_new_columns(scratch / "history")
            folder = scratch / str(sessions[-1])
            (folder / "input").mkdir(parents=True)
            with writing() as connection:
                before = RowTarget.state_of(connection, *KEPT_STILL)
                export_bars(connection, sessions, folder / "input")
            self._compute(folder, job_argument())
            with writing() as connection:
                self._check_still(connection, before)
                counts = load_indicators(connection, sessions, folder / "output")
                for session in sessions:
                    self.finish(connection, session)
        return {session: {"rows": counts.get(session, 0)} for session in sessions}

    def _back_fill_new_columns(self, folder: pathlib.Path) -> None:
        """Compute indicators that are new in the configuration for the sessions that were done without them."""
        from pipeline.indicators.columns import add_columns, export_history, load_history

        with writing() as connection:
            definitions = add_columns(connection)
        if not definitions:
            return
        logger.info("filling %s for the sessions before", "; ".join(map(str, definitions)))
        (folder / "input").mkdir(parents=True)
        with writing() as connection:
            before = RowTarget.state_of(connection, *KEPT_STILL)
            export_history(connection, folder / "input")
        self._compute(folder, ",".join(definition.argument for definition in definitions))
        with writing() as connection:
            self._check_still(connection, before)
            load_history(connection, definitions, folder / "output")

    def _check_still(self, connection: DuckDBPyConnection, before: tuple[Any, ...]) -> None:
        if RowTarget.state_of(connection, *KEPT_STILL) != before:
            raise BarsChangedError(
                "another run has written bars or indicators while Spark worked for this one, which was stopped "
                "meanwhile or is not alone; nothing of it was stored. Run it again"
            )

    def _compute(self, folder: pathlib.Path, argument: str) -> None:
        """Have Spark make `output/` of `input/`."""
        from pipeline.indicators.spark.handover import exchanged

        with exchanged(folder) as place:
            self.submit([f"{place}/input", f"{place}/output", "--indicators", argument])
