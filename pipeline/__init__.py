"""NASDAQ end-of-day data as a Luigi pipeline: `luigi --module pipeline DailyPipeline --date 2024-02-20`.

Importing the package registers the tasks, and makes config/luigi.cfg the configuration unless LUIGI_CONFIG_PATH names
another file. It costs little more than Luigi itself: pandas, Spark, DuckDB and yfinance are imported where they work.
"""

import os
import sys

import luigi.configuration

from pipeline.config import ROOT
from pipeline.luigi_private import expect_rpc_settings, is_command_line

if "LUIGI_CONFIG_PATH" not in os.environ:  # Luigi reads the last file added; an operator's own one must win
    luigi.configuration.add_config_path(str(ROOT / "config" / "luigi.cfg"))
expect_rpc_settings()

from pipeline.runs.startup import prepare  # noqa: E402  # after the configuration is known
from pipeline.tasks.daily import DailyPipeline  # noqa: E402
from pipeline.tasks.ranges import RangeTradingDays  # noqa: E402
from pipeline.tasks.redis_sync import ManualFullSync, RedisWatchlistSync  # noqa: E402

__all__ = ["DailyPipeline", "ManualFullSync", "RangeTradingDays", "RedisWatchlistSync"]

if is_command_line():  # a notebook, a test, a program with luigi.build gets the tasks and nothing else
    prepare(sys.argv[1:])
