"""Kills deliveries of events at many moments, and shows that none is lost by any transport.

    python benchmarks/deliveries.py [--moments 50]

Twenty events are written before each kill, at evenly spread lines between their commit and the note that they are
delivered: to a file, to a stream of a Redis server, and to librdkafka's mock of a Kafka cluster in another process.
"""

from __future__ import annotations

import argparse
import pathlib
import sys
import tempfile

import luigi.configuration

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from pipeline.feed import delivery
from tests.support import deliveries


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moments", type=int, default=50)
    options = parser.parse_args()
    delivery.AT_ONCE = 7
    faults = 0
    for transport in deliveries.TRANSPORTS:
        with tempfile.TemporaryDirectory() as folder:
            config = luigi.configuration.get_config()
            config.set("storage", "data_dir", folder)
            for name in ("file", "redis_stream", "kafka_servers"):
                config.set("events", name, "")
            found = deliveries.try_out(transport, pathlib.Path(folder), options.moments)
        order = "in the order of their keys" if found.is_in_order else "NOT in the order of their keys"
        print(
            f"{transport}: {found.killed} of {options.moments} killed; of {found.written} events {found.missing} are "
            f"missing, {found.repeated} came again with the same event_id; {order}"
        )
        faults += found.missing + (not found.is_in_order)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
