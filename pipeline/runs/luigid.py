"""The central scheduler with our configuration: `python -m pipeline.runs.luigid`, called by scripts/luigid.

Luigi's own luigid never imports `pipeline`, listens on every address, and keeps its state only when it is stopped in
order. This one listens on the loopback, saves its state every five seconds (a kill loses at most that), and keeps a
history of runs and Prometheus metrics when the packages of the extra `luigid` are installed. All of it lies in
`data_dir/luigid`. It answers its own host alone (scheduler_page.py), and keeps no task that is malformed (calls.py).
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import logging
import logging.config
import pathlib
import pickle
import sys
from collections.abc import Sequence

import luigi.configuration
import luigi.server
from tornado.ioloop import PeriodicCallback

from pipeline.config import ROOT, storage
from pipeline.host.files import atomic_path
from pipeline.runs.scheduler import DailyScheduler
from pipeline.runs.scheduler_page import application

logger = logging.getLogger("pipeline")

SAVE_EVERY = 5_000  # milliseconds


def main(arguments: Sequence[str]) -> None:
    """Serve until SIGTERM or SIGINT."""
    options = parse(arguments)
    if options.data_dir:
        luigi.configuration.get_config().set("storage", "data_dir", options.data_dir)
    folder = storage().root / "luigid"
    folder.mkdir(parents=True, exist_ok=True)
    logging.config.fileConfig(ROOT / "config" / "logging.ini", disable_existing_loggers=False)
    scheduler = configured_scheduler(folder)
    saver = PeriodicCallback(lambda: save(scheduler, folder / "state.pickle"), SAVE_EVERY)
    saver.start()
    luigi.server.app = lambda scheduler: application(scheduler, [options.address, *options.name])
    logger.info("luigid serves http://%s:%d/ (state in %s)", options.address, options.port, folder)
    luigi.server.run(api_port=options.port, address=options.address, scheduler=scheduler)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/luigid", description="The central scheduler, on the loopback address."
    )
    parser.add_argument("--port", type=int, default=8082, help="default: %(default)s, as [core] scheduler_url has it")
    parser.add_argument("--address", default="127.0.0.1", help="default: %(default)s; there is no login, so keep it")
    parser.add_argument("--data-dir", default="", help="default: [storage] data_dir")
    parser.add_argument(
        "--name", action="append", default=[], metavar="HOST",
        help="a further name that browsers and runs call this host by, such as that of a proxy; may be repeated",
    )  # fmt: skip
    return parser.parse_args(arguments)


def configured_scheduler(folder: pathlib.Path) -> DailyScheduler:
    """A scheduler that keeps what it knows in `folder`."""
    config = luigi.configuration.get_config()
    config.set("scheduler", "state_path", str(folder / "state.pickle"))
    if has_history():
        config.set("scheduler", "record_task_history", "true")
        config.set("task_history", "db_connection", f"sqlite:///{folder / 'history.db'}")
    if importlib.util.find_spec("prometheus_client"):
        config.set("scheduler", "metrics_collector", "custom")
        config.set("scheduler", "metrics_custom_import", "pipeline.runs.collector.Collector")
    if not (has_history() and importlib.util.find_spec("prometheus_client")):
        logger.warning("no history of runs or no /metrics; for both: .venv/bin/pip install -e '.[luigid]'")
    return DailyScheduler()


def has_history() -> bool:
    """Whether SQLAlchemy is there in a version that Luigi's history works with."""
    try:
        return importlib.metadata.version("sqlalchemy").startswith("1.4.")
    except importlib.metadata.PackageNotFoundError:
        return False


def save(scheduler: DailyScheduler, path: pathlib.Path) -> None:
    """Write the state as Luigi does when it stops, but whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(pickle.dumps(scheduler.state_to_save()))


if __name__ == "__main__":
    main(sys.argv[1:])
