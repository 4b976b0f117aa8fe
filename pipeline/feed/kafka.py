"""Events through Kafka: a topic for each kind, a symbol or a stage as the key, and a producer that keeps their order.

The producer is idempotent and waits for all replicas in sync (`acks=all`): within a delivery, events of one key arrive
once and in order. A delivery that is begun anew, after a kill or a timeout, may bring an event again, with the same
`event_id`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pipeline.config import events as settings
from pipeline.errors import ConfigurationError, EventDeliveryError
from pipeline.events.outbox import Event

if TYPE_CHECKING:
    from confluent_kafka import KafkaError, KafkaException, Message, Producer


class Kafka:
    """The brokers of `[events] kafka_servers`."""

    def __init__(self) -> None:
        self._servers = settings().kafka_servers

    @property
    def name(self) -> str:
        return f"kafka {self._servers}"

    def send(self, events: Sequence[Event]) -> int:
        taken: list[bool] = [False] * len(events)
        reasons: list[str] = []
        self._produce(events, taken, reasons)
        count = taken.index(False) if False in taken else len(taken)
        if not count:
            raise EventDeliveryError(
                f"Kafka at {self._servers} takes no events ({reasons[0] if reasons else 'no answer'}); "
                f"see that it runs, and that [events] kafka_servers and the security settings are right: "
                f"pipeline events --check"
            )
        return count

    def _produce(self, events: Sequence[Event], taken: list[bool], reasons: list[str]) -> None:
        producer = self._producer(reasons)
        for number, event in enumerate(events):

            def reported(error: KafkaError | None, message: Message, number: int = number) -> None:
                taken[number] = error is None
                if error is not None:
                    reasons.append(error.str())

            producer.produce(self._topic(event), key=event.key, value=event.as_json(), on_delivery=reported)
        if producer.flush(settings().timeout):
            producer.purge()
            producer.flush(1.0)

    def _topic(self, event: Event) -> str:
        return settings().kafka_topic_prefix + event.kind

    def _producer(self, reasons: list[str]) -> Producer:
        common = client_settings()
        from confluent_kafka import KafkaException, Producer

        settings_of_ours = common | {
            "enable.idempotence": True,
            "acks": "all",
            "linger.ms": 5,
            "message.timeout.ms": int(settings().timeout * 1000),
            "error_cb": lambda error: reasons.append(error.str()),
        }
        try:
            return Producer(settings_of_ours)
        except KafkaException as error:
            raise refused(error) from None

    def probe(self, event: Event) -> str:
        """The probe goes to a topic of its own, `PREFIX` + `probe`."""
        places: list[tuple[str, int, int]] = []
        reasons: list[str] = []

        def reported(error: KafkaError | None, message: Message) -> None:
            if error is None:
                place = message.topic(), message.partition(), message.offset()
                places.append(place)  # type: ignore[arg-type, unused-ignore]  # without the extra there are no types
            else:
                reasons.append(error.str())

        producer = self._producer(reasons)
        producer.produce(self._topic(event), key=event.key, value=event.as_json(), on_delivery=reported)
        producer.flush(settings().timeout)
        if not places:
            raise EventDeliveryError(
                f"Kafka at {self._servers} takes no events ({reasons[0] if reasons else 'no answer'})"
            )
        found = self._read(*places[0])
        if event.event_id not in found:
            raise EventDeliveryError(f"Kafka at {self._servers} does not give back the event that it has just taken")
        topic, partition, offset = places[0]
        return f"{topic}, partition {partition}, offset {offset}"

    def _read(self, topic: str, partition: int, offset: int) -> str:
        from confluent_kafka import Consumer, TopicPartition

        consumer = Consumer(  # its settings were good enough for the producer
            client_settings() | {"group.id": "nasdaq-daily-pipeline-check", "enable.auto.commit": False}
        )
        end = time.monotonic() + settings().timeout
        try:
            consumer.assign([TopicPartition(topic, partition, offset)])
            while time.monotonic() < end:
                message = consumer.poll(0.2)
                if message is not None and message.error() is None:
                    return (message.value() or b"").decode()
            return ""
        finally:
            consumer.close()


def refused(error: KafkaException) -> ConfigurationError:
    """The error of ours for settings that librdkafka refuses; its text names the setting and no secret."""
    return ConfigurationError(f"[events] has settings that Kafka's client refuses: {error.args[0].str()}")


def client_settings() -> dict[str, Any]:
    """What producers and consumers have in common. Raises ConfigurationError without the package."""
    try:
        import confluent_kafka  # noqa: F401
    except ImportError:
        raise ConfigurationError(
            "[events] kafka_servers is set, and the package confluent-kafka is not there; "
            "install it: .venv/bin/pip install -e '.[kafka]'"
        ) from None
    section = settings()
    found: dict[str, Any] = {
        "bootstrap.servers": section.kafka_servers,
        "client.id": "nasdaq-daily-pipeline",
        "security.protocol": section.kafka_security,
        "socket.timeout.ms": max(10, int(section.timeout * 1000)),
        "log_level": 0,
    }
    if section.kafka_ca_file:
        found["ssl.ca.location"] = section.kafka_ca_file
    if section.kafka_security.startswith("SASL"):
        found |= {
            "sasl.mechanism": section.kafka_sasl_mechanism,
            "sasl.username": section.kafka_username,
            "sasl.password": section.kafka_password,
        }
    return found
