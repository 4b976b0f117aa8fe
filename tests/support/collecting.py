"""Sessions collected one after the other in this process, and what is stored after them."""

from __future__ import annotations

import datetime as dt
from typing import Any

from pipeline.database.connection import reading
from pipeline.tasks.base import SessionTask
from pipeline.tasks.prices import CollectPrices
from tests.support.runs import run_here
from tests.support.small_market import SmallMarket


def ask(query: str, *values: object) -> list[tuple[Any, ...]]:
    """The rows of a query over the database."""
    with reading() as connection:
        return connection.execute(query, list(values)).fetchall()


def collect(market: SmallMarket, *days: dt.date, task: type[SessionTask] = CollectPrices) -> bool:
    """Run the task in the evening of each day, whatever became of the days before; True when all of them are done."""
    done = True
    for day in days:
        market.as_of = day
        done = run_here(task(date=day)) and done
    return done
