"""Our luigid, real, asked by strangers: other names for this host, pages of other sites, calls that are none."""

from __future__ import annotations

import http.client
import inspect
import json
import pathlib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from luigi.scheduler import RPC_METHODS, Scheduler

from pipeline.runs.calls import CallError, checked
from pipeline.runs.scheduler import DailyScheduler
from tests.support.luigid import Luigid

WORKER = "Worker(salt=1, workers=1, host=quant1, username=market, pid=4711)"
GOOD = {"worker": WORKER, "task_id": "Good_1", "family": "Good", "params": {"date": "2024-02-16"}, "priority": 9}


@pytest.fixture(scope="module")
def luigid(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Luigid]:
    served = Luigid(pathlib.Path(tmp_path_factory.mktemp("luigid")))
    served.start()
    yield served
    served.stop()


def ask(luigid: Luigid, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], str]:
    connection = http.client.HTTPConnection("127.0.0.1", luigid.port, timeout=10)
    own = {"Host": f"127.0.0.1:{luigid.port}"}
    connection.request(method, path, headers=own | {name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    return answer.status, dict(answer.getheaders()), answer.read().decode()


PING = "/api/ping?data=%7B%22worker%22%3A%22w%22%7D"
PAGE = "/static/visualiser/index.html"


@pytest.mark.parametrize("path", [PING, PAGE, "/history", "/metrics", "/", "/nowhere"])
@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1.evil.example", "0.0.0.0:{port}", ""]
)
def test_another_name_for_this_host_is_refused(luigid: Luigid, path: str, host: str) -> None:
    assert ask(luigid, path, Host=host.format(port=luigid.port))[0] in (400, 403)


@pytest.mark.parametrize(
    "host", ["127.0.0.1:{port}", "localhost:{port}", "LOCALHOST:{port}", "[::1]:{port}", "localhost"]
)
def test_the_names_of_the_loopback_are_answered(luigid: Luigid, host: str) -> None:
    assert ask(luigid, PING, Host=host.format(port=luigid.port))[0] == 200


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "file://"},
        {"Origin": "http://["},
        {"Referer": "http://evil.example/page"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site", "Sec_Fetch_Mode": "no-cors"},
        {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"},
    ],
    ids=str,
)
def test_a_call_from_the_page_of_another_site_is_refused(luigid: Luigid, method: str, headers: dict[str, str]) -> None:
    assert ask(luigid, PING, method, **headers)[0] == 403


def test_the_own_page_may_call(luigid: Luigid) -> None:
    own = f"http://127.0.0.1:{luigid.port}"
    assert ask(luigid, PING, "POST", Origin=own, Referer=f"{own}{PAGE}", Sec_Fetch_Site="same-origin")[0] == 200


def test_a_link_to_the_page_may_be_followed_and_its_picture_not_be_shown_elsewhere(luigid: Luigid) -> None:
    visit = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}
    assert ask(luigid, PAGE, Referer="http://wiki.example/", **visit)[0] == 200
    assert ask(luigid, PAGE, Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate", Sec_Fetch_Dest="iframe")[0] == 403


@pytest.mark.parametrize("path", [PING, PAGE, "/history", "/tasklist"])
def test_nothing_runs_but_luigis_own_scripts(luigid: Luigid, path: str) -> None:
    status, headers, _ = ask(luigid, path)
    policy = dict(part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";"))
    assert status == 200
    assert "unsafe" not in policy["script-src"]
    assert policy["default-src"] == policy["form-action"] == "'self'"
    assert policy["frame-ancestors"] == policy["object-src"] == policy["base-uri"] == "'none'"


def test_the_history_asks_no_other_site(luigid: Luigid) -> None:
    pytest.importorskip("sqlalchemy")
    add(luigid, **GOOD)
    for path in ("/history", "/history/by_name/Good", "/tasklist"):
        status, _, page = ask(luigid, path)
        assert (status, "Good" in page, "://" in page, "<script" in page) == (200, True, False, False), path
    assert ask(luigid, "/tasklist/Good")[1]["Location"] == "/history/by_name/Good"


def add(luigid: Luigid, **facts: Any) -> int:
    from urllib.parse import urlencode

    return ask(luigid, f"/api/add_task?{urlencode({'data': json.dumps(facts)})}")[0]


ODD = [
    {"priority": "high"}, {"priority": None}, {"priority": float("nan")}, {"priority": float("inf")},
    {"priority": True},
    {"resources": ["duckdb"]}, {"resources": {"duckdb": None}}, {"resources": {"duckdb": "1"}}, {"resources": 1},
    {"status": "FOO"}, {"status": None}, {"status": ""}, {"deps": [1]}, {"deps": [["a"]]}, {"deps": "Other_1"},
    {"params": {"date": None}}, {"params": {"date": ["2024-02-16"]}}, {"params": []}, {"family": 1}, {"task_id": ""},
    {"task_id": None}, {"task_id": ["a"]}, {"tracking_url": "javascript:alert(1)"},
    {"tracking_url": "data:text/html,x"},
    {"retry_policy_dict": {"retry_count": "1"}}, {"retry_policy_dict": {"more": 1}},
    {"worker": None}, {"worker": 1}, {"expl": {}}, {"owners": "me"},
    {"family": "x\ny"}, {"unknown": 1}, {"runnable": "yes"}, {"batch_id": 1},
]  # fmt: skip


@pytest.mark.parametrize("facts", ODD, ids=str)
def test_a_malformed_task_reaches_no_state(luigid: Luigid, facts: dict[str, Any]) -> None:
    assert add(luigid, **{**GOOD, "task_id": "Odd_1"} | facts) == 400
    assert "Odd_1" not in ask(luigid, "/api/task_list?data=%7B%7D")[2]


@pytest.mark.parametrize("data", ["[", "[]", "1", "null", "[" * 5000, '{"worker": "w", "x": 1}', '{"worker": {}}'])
def test_what_is_no_call_is_said(luigid: Luigid, data: str) -> None:
    from urllib.parse import urlencode

    assert ask(luigid, f"/api/get_work?{urlencode({'data': data})}")[0] == 400


@pytest.mark.parametrize("method", sorted(set(RPC_METHODS) - {"pause"}))
def test_a_call_without_what_it_needs_is_said(luigid: Luigid, method: str) -> None:
    wanted = [
        parameter.name
        for parameter in inspect.signature(getattr(Scheduler, method)).parameters.values()
        if parameter.default is parameter.empty and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    ]
    code, _, said = ask(luigid, f"/api/{method}?data=%7B%7D")
    assert code == (400 if len(wanted) > 1 or method in ("add_task", "get_work", "ping") else 200), said


# --- whatever is called, workers get answers ------------------------------------------------------------------------

VALUES = st.recursive(
    st.sampled_from([
        None, True, False, 0, -1, 1.5, 10**400, float("nan"), float("inf"), "", "Good_1", "Good", WORKER, "PENDING",
        "RUNNING", "DISABLED", "http://x/", "javascript:x", "\x00", "workers", "retry_count", "duckdb", "date",
    ]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["date", "duckdb", "retry_count"]), inner)
    ),
    max_leaves=4,
)  # fmt: skip
NAMES = st.sampled_from([
    "task_id", "worker", "status", "runnable", "deps", "new_deps", "resources", "priority", "family", "params",
    "param_visibilities", "batchable", "batch_id", "retry_policy_dict", "assistant", "info", "n", "task_family",
    "batched_args", "max_batch_size", "amount", "resource", "current_tasks", "tracking_url", "progress_percentage",
    "status_message", "decrease_resources", "statistics", "host", "task", "content", "search", "accepts_messages",
])  # fmt: skip
CALLS = st.tuples(
    st.sampled_from(sorted(set(RPC_METHODS) - {"pause", "disable_worker"})),
    st.dictionaries(NAMES, VALUES, max_size=6),
    st.booleans(),
)


def call(scheduler: Scheduler, method: str, arguments: dict[str, Any], is_like_good: bool) -> None:
    """As luigid does it; an error of Luigi's is an answer to the caller alone."""
    given = (GOOD | arguments) if is_like_good and method == "add_task" else {"worker": WORKER} | arguments
    try:
        getattr(scheduler, method)(**checked(method, json.dumps(given)))
    except CallError:
        pass
    except Exception:  # noqa: BLE001  # whatever it is, luigid answers 500 to the one who called
        pass


@settings(max_examples=150, deadline=None)
@given(st.lists(CALLS, max_size=6))
@example([("add_task", {"priority": "x"}, True)])
@example([("add_worker", {"info": [["workers", "many"]]}, False)])
@example([("add_task_batcher", {"task_family": "Good", "batched_args": ["date"], "max_batch_size": 9}, False)])
@example([("update_resource", {"resource": "duckdb", "amount": 10**400}, False)])
def test_no_call_keeps_a_worker_from_its_work(calls: list[tuple[str, dict[str, Any], bool]]) -> None:
    scheduler = DailyScheduler()
    for one in calls:
        call(scheduler, *one)
    other = WORKER.replace("4711", "4712")
    scheduler.add_task(**GOOD | {"worker": other, "task_id": "Mine_1", "family": "Mine"})
    assert "task_id" in scheduler.get_work(worker=other, host="quant1", current_tasks=[])
    assert "Mine_1" in scheduler.task_list("", "")
    scheduler.worker_list()
    scheduler.resource_list()
    json.dumps(scheduler.graph())
    scheduler.prune()
