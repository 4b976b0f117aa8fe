"""NASDAQ end-of-day data as a Luigi pipeline: `luigi --module pipeline DailyPipeline --date 2024-02-20`.

Importing the package registers the tasks, and reads config/luigi.cfg and then the file that LUIGI_CONFIG_PATH names. It
costs little more than Luigi itself: pandas, Spark, DuckDB and yfinance are imported where they work.
"""

import sys

from pipeline.luigi_private import is_command_line
from pipeline.runs import configuration

configuration.read_files()  # before anything reads a setting

from pipeline.runs.startup import prepare  # noqa: E402  # after the configuration is known
from pipeline.tasks.confirm import ConfirmSession  # noqa: E402
from pipeline.tasks.daily import DailyPipeline  # noqa: E402
from pipeline.tasks.lake import PublishLake  # noqa: E402
from pipeline.tasks.ranges import RangeTradingDays  # noqa: E402
from pipeline.tasks.redis_sync import ManualFullSync, RedisWatchlistSync  # noqa: E402

__all__ = ["ConfirmSession", "DailyPipeline", "ManualFullSync", "PublishLake", "RangeTradingDays", "RedisWatchlistSync"]

if is_command_line():  # a notebook, a test, a program with luigi.build gets the tasks and nothing else
    prepare(sys.argv[1:])
