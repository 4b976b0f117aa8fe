"""A Kafka cluster of the tests' own: librdkafka's mock, in a process that anybody on this host may reach."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

#: It lives until its input is closed.
CLUSTER = """
import sys
from confluent_kafka import Producer
cluster = Producer({"test.mock.num.brokers": 1, "log_level": 0})
(broker,) = cluster.list_topics(timeout=20).brokers.values()
print(f"{broker.host}:{broker.port}", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def mock_cluster() -> Iterator[str]:
    """The address of its broker."""
    command = [sys.executable, "-c", CLUSTER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin and process.stdout
        yield process.stdout.readline().strip()
        process.stdin.close()


def consumed(address: str, topic: str, count: int = 0) -> list[tuple[str, dict[str, Any]]]:
    """Keys and events of a topic, in the order of each partition, by a consumer of its own: at least so many."""
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer(
        {"bootstrap.servers": address, "group.id": "test", "auto.offset.reset": "earliest", "log_level": 0}
    )
    partitions = [
        TopicPartition(topic, number, 0) for number in consumer.list_topics(topic, 20).topics[topic].partitions
    ]
    ends = [consumer.get_watermark_offsets(partition, timeout=20)[1] for partition in partitions]
    consumer.assign(partitions)
    found: list[tuple[str, dict[str, Any]]] = []
    while len(found) < max(count, sum(ends)):
        message = consumer.poll(20.0)
        assert message is not None
        if message.error() is None:
            found.append(((message.key() or b"").decode(), json.loads(message.value() or b"")))
    consumer.close()
    return found
