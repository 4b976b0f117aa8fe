"""Deliveries that are killed: no event is lost, and one that comes again has the same `event_id`.

benchmarks/deliveries.py tries fifty moments of each transport.
"""

import pytest

from pipeline.feed import delivery
from tests.support import deliveries


@pytest.mark.slow
@pytest.mark.parametrize(
    ("transport", "moments"),
    [("file", 20), pytest.param("Redis stream", 12, marks=pytest.mark.redis), ("Kafka", 6)],
)
def test_no_event_is_lost_by_a_kill(transport, moments, data_dir, settings, tmp_path, monkeypatch):
    """Forks beside threads of the test runner, and idle ones of DuckDB, which hold no lock that the children need."""
    if transport == "Kafka":
        pytest.importorskip("confluent_kafka")
    settings("events", file="", redis_stream="", kafka_servers="")
    settings("redis", url="")
    monkeypatch.setattr(delivery, "AT_ONCE", 7)
    found = deliveries.try_out(transport, tmp_path, moments)
    assert (found.written, found.missing, found.is_in_order) == ((moments + 1) * deliveries.EACH, 0, True)
    assert found.killed >= moments - 2  # how often Kafka's client calls back is not the same each time
    assert found.repeated > 0
