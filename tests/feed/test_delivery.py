"""Delivery after the commit: every event, in order, at least once, by each transport, whatever is down or killed."""

import collections
import datetime as dt
import json
import logging
import shutil
import subprocess
import sys

import pytest
from click.testing import CliRunner

from pipeline.cli.main import main
from pipeline.config import retention
from pipeline.database.connection import reading, writing
from pipeline.errors import EventDeliveryError
from pipeline.events import outbox
from pipeline.feed import delivery
from pipeline.feed.transports import JsonLines, whole_lines
from tests.support.kafka import consumed, mock_cluster
from tests.support.servers import RedisServer


def write_events(count, keys=("AAA", "BBB", "CCC")):
    with writing() as connection:
        for number in range(count):
            outbox.add(connection, "signals", keys[number % len(keys)], {"number": number})


@pytest.fixture
def file(data_dir, settings, tmp_path):
    path = tmp_path / "events" / "events.jsonl"
    settings("events", file=str(path))
    return path


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def numbers(found):
    return [event["body"]["number"] for event in found]


def test_a_file_gets_each_event_once_and_in_order(file):
    write_events(1200)
    assert delivery.deliver() == {f"file {file}": 1200}
    assert delivery.deliver() == {f"file {file}": 0}
    write_events(2)
    delivery.deliver()
    assert numbers(lines(file)) == [*range(1200), 0, 1]
    assert len({event["event_id"] for event in lines(file)}) == 1202
    assert lines(file)[0].keys() == {"event_id", "kind", "version", "key", "created_at", "body"}


@pytest.mark.parametrize("torn", ['{"event_id": "x', "\n{", "x" * 200_000])
def test_a_line_that_a_kill_has_torn_is_replaced(file, torn):
    write_events(1)
    delivery.deliver()
    whole = file.read_text()
    file.write_text(whole + torn)
    write_events(1)
    delivery.deliver()
    assert [json.loads(line)["body"] for line in file.read_text().splitlines() if line] == [{"number": 0}] * 2


def test_whole_lines_of_an_empty_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("no end")
    with path.open("rb") as opened:
        assert whole_lines(opened.fileno(), step=2) == 0


def test_a_transport_that_is_away_delays_and_fails_nothing(file, settings, caplog):
    settings("redis", url="redis://127.0.0.1:1/0", retries=0)
    settings("events", redis_stream="events")
    write_events(3)
    with caplog.at_level(logging.WARNING, "pipeline"):
        assert delivery.deliver() == {f"file {file}": 3, "redis nasdaq:events": 0}
    assert "events wait in the outbox for redis nasdaq:events: Redis at 127.0.0.1:1 cannot be reached" in caplog.text
    standing = {line["transport"]: line["waiting"] for line in delivery.standing()}
    assert standing == {f"file {file}": 0, "redis nasdaq:events": 3}
    said = CliRunner().invoke(main, ["events"])
    assert "redis nasdaq:events: 3 events wait, the oldest since" in said.output


def test_a_file_that_cannot_be_written_is_said(file):
    file.parent.parent.joinpath("events").write_text("in the way")
    with pytest.raises(EventDeliveryError, match="takes no events"):
        JsonLines(file).send([])


@pytest.mark.redis
def test_a_redis_stream_gets_what_came_while_it_was_away(data_dir, settings, tmp_path):
    server = RedisServer(tmp_path / "server")
    settings("redis", url=server.url, retries=0)
    settings("events", redis_stream="events")
    server.kill()
    write_events(3)
    delivery.deliver()
    server.start()
    write_events(2)
    assert delivery.deliver() == {"redis nasdaq:events": 5}
    with server.client() as client:
        found = [fields for _, fields in client.xrange("nasdaq:events")]
    server.kill()
    assert numbers(json.loads(fields["event"]) for fields in found) == [0, 1, 2, 0, 1]
    assert found[0]["kind"] == "signals" and found[0]["key"] == "AAA"


def test_what_is_old_and_delivered_is_forgotten(file, monkeypatch):
    write_events(3)
    delivery.deliver()
    with writing() as connection:
        (written,) = connection.execute("SELECT max(created_at) FROM outbox").fetchone()
    due = written + dt.timedelta(days=retention().event_days)
    for moment, left in ((due, 3), (due + dt.timedelta(seconds=1), 0)):
        monkeypatch.setattr("pipeline.feed.delivery.calendar.now", lambda moment=moment: moment)
        delivery.deliver()
        with reading() as connection:
            assert connection.execute("SELECT count(*) FROM outbox").fetchone() == (left,)


def test_the_command_line_without_a_transport(data_dir):
    for options in ([], ["--check"]):
        assert "no transport is configured" in CliRunner().invoke(main, ["events", *options]).output


def test_the_probe_of_a_file(file):
    said = CliRunner().invoke(main, ["events", "--check"])
    assert (said.exit_code, said.output.strip()) == (0, f"file {file}: the probe arrived ({file})")
    assert lines(file)[0]["kind"] == "probe"


# --- Kafka, with the mock cluster of librdkafka --------------------------------------------------------------------


@pytest.fixture
def brokers(data_dir, settings):
    """The address of a mock cluster."""
    pytest.importorskip("confluent_kafka")
    with mock_cluster() as address:
        settings("events", kafka_servers=address)
        yield address


def test_kafka_gets_each_event_in_the_order_of_its_key(brokers):
    write_events(900)
    assert delivery.deliver() == {f"kafka {brokers}": 900}
    assert delivery.deliver() == {f"kafka {brokers}": 0}
    found = consumed(brokers, "nasdaq.signals", 900)
    by_key = collections.defaultdict(list)
    for key, event in found:
        assert key == event["key"]
        by_key[key].append(event["body"]["number"])
    assert by_key == {key: list(range(start, 900, 3)) for start, key in enumerate(("AAA", "BBB", "CCC"))}


@pytest.mark.skipif(not shutil.which("kcat"), reason="kcat is not installed")
def test_a_consumer_that_is_not_ours_reads_topic_key_and_value(brokers):
    write_events(30)
    delivery.deliver()
    command = ["kcat", "-C", "-b", brokers, "-t", "nasdaq.signals", "-o", "beginning", "-e", "-q", "-f", "%t %k %s\\n"]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    found = [line.split(" ", 2) for line in said.splitlines()]
    assert {topic for topic, _, _ in found} == {"nasdaq.signals"}
    by_key = collections.defaultdict(list)
    for _, key, text in found:
        event = json.loads(text)
        assert event["key"] == key
        by_key[key].append(event["body"]["number"])
    assert by_key == {"AAA": [*range(0, 30, 3)], "BBB": [*range(1, 30, 3)], "CCC": [*range(2, 30, 3)]}


def test_the_probe_of_kafka(brokers):
    said = CliRunner().invoke(main, ["events", "--check"])
    assert said.exit_code == 0, said.output
    assert said.output.startswith(f"kafka {brokers}: the probe arrived (nasdaq.probe, partition ")


def test_brokers_that_are_away_delay_and_fail_nothing(data_dir, settings, caplog):
    pytest.importorskip("confluent_kafka")
    settings("events", kafka_servers="127.0.0.1:1", timeout=0.5)
    write_events(3)
    with caplog.at_level(logging.WARNING, "pipeline"):
        assert delivery.deliver() == {"kafka 127.0.0.1:1": 0}
    assert "Kafka at 127.0.0.1:1 takes no events" in caplog.text
    assert delivery.standing()[0]["waiting"] == 3
    said = CliRunner().invoke(main, ["events", "--check"])
    assert said.exit_code == 1


def test_without_the_package_the_error_says_what_to_install(data_dir, settings, caplog, monkeypatch):
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    settings("events", kafka_servers="127.0.0.1:1")
    write_events(1)
    with caplog.at_level(logging.WARNING, "pipeline"):
        delivery.deliver()
    assert ".venv/bin/pip install -e '.[kafka]'" in caplog.text


@pytest.mark.parametrize(
    "wrong", [{"kafka_security": "TELNET"}, {"kafka_security": "SASL_SSL", "kafka_sasl_mechanism": "?"}]
)
def test_settings_that_the_client_refuses_are_named(data_dir, settings, wrong):
    pytest.importorskip("confluent_kafka")
    settings("events", kafka_servers="127.0.0.1:1", kafka_password="hunter2", timeout=0.5, **wrong)
    said = CliRunner().invoke(main, ["events", "--check"])
    assert said.exit_code == 1
    assert "hunter2" not in str(said.exception) + said.output


def test_a_database_from_before_the_outbox_waits_for_nothing(data_dir, settings, tmp_path):
    settings("events", file=str(tmp_path / "events.jsonl"))
    with writing() as connection:
        connection.execute("DROP TABLE outbox")
    assert list(delivery.deliver().values()) == [0]
    assert delivery.standing() == []


def test_user_and_password_go_to_brokers_with_sasl_alone(data_dir, settings):
    pytest.importorskip("confluent_kafka")
    from pipeline.feed.kafka import client_settings

    settings("events", kafka_servers="b:1", kafka_username="u", kafka_password="p")
    assert "sasl.password" not in client_settings()
    settings("events", kafka_security="SASL_SSL", kafka_ca_file="/ca.pem", kafka_sasl_mechanism="SCRAM-SHA-512")
    found = client_settings()
    assert (found["security.protocol"], found["sasl.username"], found["sasl.password"]) == ("SASL_SSL", "u", "p")
    assert (found["ssl.ca.location"], found["sasl.mechanism"]) == ("/ca.pem", "SCRAM-SHA-512")
