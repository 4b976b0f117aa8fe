"""What is made of a job's output, line by line."""

from __future__ import annotations

import io

import pytest

from pipeline.indicators.spark.output import JobOutput


class Heard:
    def __init__(self):
        self.pages, self.progress = [], []

    def found_page(self, url):
        self.pages.append(url)

    def progressed(self, percent, text):
        self.progress.append((percent, text))


def read(text: str) -> tuple[JobOutput, Heard, str]:
    heard, log = Heard(), io.StringIO()
    output = JobOutput(io.BytesIO(text.encode("utf-8", "surrogateescape")), log, heard, "host")
    output.finish()
    return output, heard, log.getvalue()


WORKER_FAILURE = """\
2026-11-23 06:26:21 WARN TaskSetManager: Lost task 0.0: \
org.apache.spark.api.python.PythonException: Traceback (most recent call last):
  File "worker.py", line 1, in main
    process()
ZeroDivisionError: division by zero

\tat org.apache.spark.api.python.BasePythonRunner(PythonRunner.scala:1)
Traceback (most recent call last):
  File "job.py", line 9, in <module>
py4j.protocol.Py4JJavaError: An error occurred while calling z:collectAndServe.
"""


def test_the_cause_is_the_first_traceback():
    assert read(WORKER_FAILURE)[0].explanation() == (
        "Traceback (most recent call last):\n"
        '  File "worker.py", line 1, in main\n'
        "    process()\n"
        "ZeroDivisionError: division by zero"
    )


def test_the_jobs_own_words_come_before_a_traceback():
    assert read(WORKER_FAILURE + "@error the file x is broken\n")[0].explanation() == "the file x is broken"


def test_without_either_the_last_lines_are_the_cause():
    lines = [f"line {number}" for number in range(100)]
    assert read("\n".join(lines))[0].explanation() == "\n".join(lines[-60:])


def test_silence_is_said():
    assert read("")[0].explanation() == "it printed nothing"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("@progress 40 forty", [(40, "forty")]),
        ("@progress 40", [(40, "")]),
        ("@progress 400 more than all", [(100, "more than all")]),
        (" @progress 40 indented", []),
        ("@progress soon", []),
    ],
)
def test_progress(line, expected):
    assert read(line + "\n")[1].progress == expected


@pytest.mark.parametrize(
    ("line", "pages"),
    [
        ("INFO Utils: Successfully started service 'SparkUI' on port 4041.", ["http://host:4041"]),
        (
            "\t tracking URL: http://rm.example:8088/proxy/application_1_1/",
            ["http://rm.example:8088/proxy/application_1_1/"],
        ),
        ("\t tracking URL: javascript:alert(1)", []),
    ],
)
def test_page(line, pages):
    assert read(line + "\n")[1].pages == pages


def test_the_log_has_every_line_whatever_its_bytes():
    assert read("one\r\ntwo \udcff\nthree")[2] == "one\ntwo \ufffd\nthree\n"
