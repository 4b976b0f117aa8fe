"""The page of the central scheduler while the pipeline runs, and after it failed, seen with a browser."""

import datetime as dt
import os
import pathlib

import pytest

from pipeline import DailyPipeline
from pipeline.tasks.prices import CollectPrices
from pipeline.tasks.report import GenerateReport
from pipeline.tasks.symbols import CollectSymbols
from tests.support.browser import Browser
from tests.support.fake_market import Fault
from tests.support.luigid import Luigid
from tests.support.runs import options, start_luigi
from tests.support.small_market import SmallMarket

pytestmark = [pytest.mark.browser, pytest.mark.long, pytest.mark.spark]

DAY = "2024-02-16"
MARKUP = "<img src=x onerror=alert(1)>"
#: Where to put pictures for the documentation; unset: none are taken.
PICTURES = os.environ.get("PICTURES", "")


@pytest.fixture
def luigid(tmp_path):
    """The address of a central scheduler with our configuration."""
    served = Luigid(tmp_path)
    served.start()
    yield served.url
    served.stop()


@pytest.fixture
def page(chromium, tmp_path, luigid):
    with Browser(chromium, tmp_path / "browser") as browser:
        yield browser
        assert [url for url in browser.requested if not url.startswith((luigid, "data:", "about:"))] == []
        assert len(browser.requested) > 5
        assert browser.dialogs == [], "markup from outside was run"


@pytest.fixture
def start(luigid, tmp_path):
    """Starts DailyPipeline under the scheduler; ended, with all that it started, when the test ends."""
    started = []

    def run(market, *arguments):
        command = ("--date", DAY, "--scheduler-url", luigid, *options(market, tmp_path / "data"), *arguments)
        process = start_luigi("DailyPipeline", *command, home=tmp_path / "home", log=tmp_path / "run.log")
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.wait()


def picture(page, name):
    if PICTURES:
        page.screenshot(pathlib.Path(PICTURES) / f"{name}.png")


def visualiser(luigid, fragment=""):
    return f"{luigid}/static/visualiser/index.html{fragment}"


def wait_for_task(page, luigid, family, condition):
    """The scheduler's facts of a task, when a condition over `task` holds."""
    script = f"""
        new Promise(async done => {{
            for (;;) {{
                const question = encodeURIComponent(JSON.stringify({{status: '', upstream_status: ''}}));
                const tasks = (await (await fetch('{luigid}/api/task_list?data=' + question)).json()).response;
                const task = Object.values(tasks).find(t => t.name === '{family}');
                if (task && ({condition})) return done(task);
                await new Promise(next => setTimeout(next, 50));
            }}
        }})
    """
    return page.evaluate(script)


def show_graph(page, luigid):
    """The graph of the day, with all its stages."""
    page.open(visualiser(luigid, f"#tab=graph&taskId={DailyPipeline(date=dt.date(2024, 2, 16)).task_id}"))
    page.evaluate("location.reload()")
    names = [stage.__name__ for stage in (DailyPipeline, GenerateReport, CollectPrices, CollectSymbols)]
    page.wait_for(
        f"{names}.every(name => "
        "[...document.querySelectorAll('svg text')].some(text => text.textContent.includes(name)))"
    )


@pytest.mark.slow
def test_a_run_can_be_followed(page, luigid, start):
    with SmallMarket(as_of=dt.date(2024, 2, 16), latency=0.25) as market:
        run = start(market, "--yahoo-threads", "2")
        page.open(visualiser(luigid))
        prices = wait_for_task(
            page, luigid, "CollectPrices", "task.status === 'RUNNING' && task.progress_percentage > 20"
        )
        assert "of 58 symbols" in prices["status_message"]
        market.latency = 0.0

        page.open(visualiser(luigid, "#tab=tasks"))
        page.evaluate("location.reload()")
        page.wait_for("document.querySelectorAll('#taskTable tbody tr').length >= 9")
        names = page.evaluate("[...document.querySelectorAll('#taskTable tbody tr')].map(row => row.innerText)")
        stages = (
            "CollectSymbols",
            "CollectPrices",
            "ComputeIndicators",
            "ScanWatchlist",
            "ReplicateDatabase",
            "NotifySuccess",
            "GenerateReport",
            "CleanUpFiles",
            "DailyPipeline",
        )
        assert all(any(stage in row for row in names) for stage in stages)
        page.click("#taskTable button.statusMessage")
        page.wait_for("document.querySelector('#statusMessageModal .progress-bar').getBoundingClientRect().width > 100")
        assert "of 58 symbols" in page.evaluate("document.querySelector('#statusMessageModal').innerText")
        picture(page, "scheduler-tasks")

        indicators = wait_for_task(
            page, luigid, "ComputeIndicators", "task.status === 'RUNNING' && task.status_message"
        )
        assert indicators["status_message"]
        show_graph(page, luigid)
        picture(page, "scheduler-graph")
        assert run.wait(timeout=120) == 0
        wait_for_task(page, luigid, "DailyPipeline", "task.status === 'DONE'")


def test_a_status_message_with_markup_runs_nothing(page, luigid):
    """Our own tasks escape what comes from outside; this is what holds when one does not."""
    page.open(visualiser(luigid))
    page.wait_for("document.querySelector('#taskTable')")
    post = """
        async (name, facts) => (await fetch('/api/' + name, {method: 'POST',
            headers: {'Content-Type': 'application/x-www-form-urlencoded'},
            body: 'data=' + encodeURIComponent(JSON.stringify(facts))})).status
    """
    page.evaluate(f"({post})('add_task', {{task_id: 'Marked_up', worker: 'w', family: 'Marked', status: 'RUNNING'}})")
    page.evaluate(f"({post})('set_task_status_message', {{task_id: 'Marked_up', status_message: '{MARKUP}'}})")
    page.evaluate("location.reload()")
    page.click("#taskTable button.statusMessage")
    page.wait_for("document.querySelector('#statusMessageModal img')")  # Luigi did put it in
    page.wait_for("document.querySelector('#statusMessageModal img').complete")


def test_a_failure_shows_its_error_and_no_markup_is_run(page, luigid, start):
    with SmallMarket(as_of=dt.date(2024, 2, 16)) as market:
        for symbol in ("S41", "S42", "S43", "S44", "S45"):
            market.faults[symbol] = Fault("400", says=MARKUP)
        run = start(market, "--yahoo-retries", "0")
        assert run.wait(timeout=120) == 30
    page.open(visualiser(luigid))
    page.click("#taskTable button.showError")
    shown = page.wait_for(
        "document.querySelector('#errorModal.in pre') && document.querySelector('#errorModal').innerText"
    )
    page.wait_for(
        "getComputedStyle(document.querySelector('#errorModal .modal-dialog')).transform.includes('0, 0)')"
    )  # it slides in
    page.wait_for("getComputedStyle(document.querySelector('#errorModal')).opacity === '1'")
    picture(page, "scheduler-error")
    shown = " ".join(shown.split())
    assert f"session {DAY}: 91" in shown
    assert "of the expected symbols were delivered, 95.0% are needed" in shown
    assert "Traceback (most recent call last)" not in shown
    assert page.evaluate("document.querySelectorAll('#errorModal img').length") == 0
    show_graph(page, luigid)
