"""The central scheduler as a run sees it: away for a while, started anew, or never there."""

import contextlib
import json
import logging

import pytest
import requests

from pipeline.errors import PipelineError, SchedulerUnreachableError
from pipeline.runs.worker import FIRST_ATTEMPTS, CentralScheduler


class Wire:
    """What the scheduler's HTTP client is given: answers, and for each None a broken connection."""

    raises = requests.RequestException

    def __init__(self, *answers):
        self.answers = list(answers)
        self.calls = []

    def fetch(self, url, body, timeout):
        self.calls.append(url.rpartition("/")[2])
        answer = self.answers.pop(0) if self.answers else None
        if answer is None:
            raise requests.ConnectionError("refused")
        return json.dumps({"response": answer})


@pytest.fixture
def central(settings):
    """`central(answers...)`: a client that waits no time between its attempts, of which it makes ten."""
    settings("core", rpc_retry_attempts=10, rpc_retry_wait=0)

    def make(*answers):
        client = CentralScheduler("http://scheduler.invalid:8082/")
        client._fetcher = Wire(*answers)
        return client

    return make


HERE = {"rpc_messages": [], "scheduler": "a"}
ANEW = {"rpc_messages": [], "scheduler": "b"}
WORK = {"task_id": None}


def test_one_that_never_answered_is_not_waited_for_long(central):
    client = central()
    with pytest.raises(SchedulerUnreachableError, match="at http://scheduler.invalid:8082 does not answer"):
        client.get_work(worker="w")
    assert len(client._fetcher.calls) == FIRST_ATTEMPTS


def test_one_that_has_answered_is_waited_for(central, caplog):
    client = central(HERE, WORK, *[None] * 9, HERE, *[None] * 9, WORK)
    client.get_work(worker="w")
    assert client.get_work(worker="w") == WORK
    assert len(client._fetcher.calls) == 22
    assert "Traceback" not in caplog.text


def test_but_not_for_ever(central):
    client = central(HERE, WORK)
    client.get_work(worker="w")
    with pytest.raises(PipelineError):
        client.get_work(worker="w")
    assert len(client._fetcher.calls) == 12


def test_a_message_is_said_once_and_fails_nothing(central):
    client = central(HERE, WORK)
    client.get_work(worker="w")
    client.set_task_status_message("task", "half of it")
    client.set_task_progress_percentage("task", 50)
    assert client._fetcher.calls[2:] == ["set_task_status_message", "set_task_progress_percentage"]


def test_pings_without_an_answer_are_said_once_and_so_is_the_next_answer(central, caplog):
    caplog.set_level(logging.INFO)
    client = central(HERE, None, None, HERE, HERE)
    for fails in (False, True, True, False, False):
        with pytest.raises(SchedulerUnreachableError) if fails else contextlib.nullcontext():
            client.ping(worker="w")
    assert [line.rpartition("8082 ")[2] for line in caplog.messages] == ["does not answer", "answers again"]


class Told:
    def __init__(self):
        self.times = 0

    def announce_again(self):
        self.times += 1


@pytest.mark.parametrize(("second", "times"), [(HERE, 0), (ANEW, 1)])
def test_one_that_was_started_anew_is_told_again(central, second, times):
    client = central(HERE, WORK, second, WORK)
    client.worker = Told()
    for _ in range(2):
        client.get_work(worker="w")
    assert client.worker.times == times


def test_luigis_own_daemon_says_nothing_of_itself_and_is_told_nothing(central):
    client = central({"rpc_messages": []}, WORK, {"rpc_messages": []}, WORK)
    client.worker = Told()
    for _ in range(2):
        client.get_work(worker="w")
    assert client.worker.times == 0
