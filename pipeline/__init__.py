"""NASDAQ end-of-day data as a Luigi pipeline: `luigi --module pipeline DailyPipeline --date 2024-02-20`.

Importing the package registers the tasks, and makes config/luigi.cfg the configuration unless LUIGI_CONFIG_PATH names
another file. It costs little more than Luigi itself: pandas, Spark, DuckDB and yfinance are imported where they work.
"""

import os
import sys

import luigi.configuration
import luigi.interface

from pipeline.config import ROOT

if "LUIGI_CONFIG_PATH" not in os.environ:  # Luigi reads the last file added; an operator's own one must win
    luigi.configuration.add_config_path(str(ROOT / "config" / "luigi.cfg"))
# Luigi reads these settings of [core] past its own parameters, and would warn of them on each run
luigi.interface.core.ignore_unconsumed |= {"rpc_retry_wait", "rpc_retry_attempts", "rpc_connect_timeout"}

from pipeline.runs import startup as runtime  # noqa: E402  # after the configuration is known
from pipeline.tasks.daily import DailyPipeline  # noqa: E402
from pipeline.tasks.ranges import RangeTradingDays  # noqa: E402
from pipeline.tasks.redis_sync import ManualFullSync, RedisWatchlistSync  # noqa: E402

__all__ = ["DailyPipeline", "ManualFullSync", "RangeTradingDays", "RedisWatchlistSync"]

if runtime.is_luigi_command(sys.argv[0]):
    runtime.prepare(sys.argv[1:])
