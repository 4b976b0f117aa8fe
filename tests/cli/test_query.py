"""`pipeline query` reads the replica and nothing else, within its time and memory, whatever it is asked."""

from __future__ import annotations

import json
import pathlib
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator

import duckdb
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.cli import terminal
from pipeline.cli.main import main
from pipeline.cli.question import TABLE_FUNCTIONS, checked
from pipeline.database.connection import database_path
from pipeline.database.replica import replica_path
from pipeline.errors import QueryError
from pipeline.watchlist.sandbox import closed_replica
from tests.support.runs import ROOT, environment

#: What a function reaches beside its arguments, told by its name: by words, not by the list under test.
REACHES_OUT = re.compile(
    r"read_|_scan|scan_|glob|parquet_(?!variant)|sniff|copy|import|secret|setting|getenv|variable|_log|logging|extension|resource"
    r"|checkpoint|arrow|pandas|python|inet|sleep|setseed|nextval|setval|currval|^query|execute|profil|enable_|disable_"
    r"|database|storage_info|metadata|temporary|memory|which|optimizer|verif|platform|user_agent|__internal|pg_conf|postmaster"
)
#: They contain such a word, and compute on their arguments alone.
INNOCENT = {
    "has_database_privilege", "current_database", "json_copy_strftime_if_date", "json_copy_strftime_if_timestamp",
}  # fmt: skip


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    path = tmp_path_factory.mktemp("stored") / "stored.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE nasdaq_symbols (symbol VARCHAR, name VARCHAR)")
        connection.execute("CREATE TABLE stock_data (symbol VARCHAR, date DATE, close DOUBLE)")
        rows = [["AAA", "[/] :x: \x1b[2J\u202eevil"], ["BBB", "=1+1"]]
        connection.executemany("INSERT INTO nasdaq_symbols VALUES (?, ?)", rows)
    return path


@pytest.fixture
def replica(data_dir: pathlib.Path, stored: pathlib.Path) -> pathlib.Path:
    replica_path().parent.mkdir(parents=True)
    for path in (database_path(), replica_path()):
        shutil.copyfile(stored, path)
    replica_path().chmod(0o444)
    return replica_path()


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    path = tmp_path_factory.mktemp("closed") / "a.duckdb"
    with duckdb.connect(str(path)) as made:
        made.execute("CREATE TABLE t AS SELECT 1 AS a, 'x' AS b")
    with closed_replica(path, "200MB") as connection:
        yield connection


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["query", *arguments])


@pytest.mark.parametrize(
    "sql",
    [
        "COPY nasdaq_symbols TO '{folder}/x.csv'",
        "COPY (SELECT 1) TO '{live}'",
        "COPY (SELECT 1) TO '{replica}'",
        "COPY (SELECT 1) TO '{replica}.wal'",
        "EXPLAIN ANALYZE COPY (SELECT 1) TO '{replica}.wal'",
        "EXPLAIN COPY (SELECT 1) TO '{replica}.wal'",
        "ATTACH '{live}' AS live (READ_WRITE)",
        "ATTACH '{replica}' AS other",
        "SELECT 1; DELETE FROM nasdaq_symbols",
        "FROM read_blob('/proc/self/environ')",
        "FROM read_blob('{replica}')",
        "FROM read_duckdb('{replica}')",
        "FROM '{replica}'",
        "FROM '{folder}/secret.csv'",
        "SELECT (SELECT content FROM read_text('{folder}/secret.csv'))",
        "WITH a AS (FROM glob('*')) FROM a",
        "FROM query('SELECT 1')",
        "FROM query_table('nasdaq_symbols')",
        "FROM json_execute_serialized_sql(json_serialize_sql('SELECT 1'))",
        "FROM text",
        "FROM sys",
        "FROM connection",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET memory_limit = '100GB'",
        "PRAGMA enable_profiling",
        "CALL enable_logging()",
        "EXPORT DATABASE '{folder}/export'",
        "CREATE SECRET s (TYPE s3)",
        "CREATE TEMP TABLE x AS SELECT 1",
        "PREPARE x AS SELECT 1",
        "FROM duckdb_settings()",
        "FROM pg_settings",
        "SELECT current_setting('memory_limit')",
        "SELECT getenv('HOME')",
        "SELECT nextval('s') OVER ()",
        "EXPLAIN",
        "",
    ],
)
def test_nothing_but_the_replica_is_reached(replica: pathlib.Path, tmp_path: pathlib.Path, sql: str) -> None:
    (tmp_path / "secret.csv").write_text("a\n1\n")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    result = run(sql.format(folder=tmp_path, live=database_path(), replica=replica))
    assert result.exit_code == 1 and result.stdout == ""
    assert result.stderr.startswith("Error: ") and "Traceback" not in result.stderr
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def all_functions() -> list[tuple[str, str]]:
    with duckdb.connect() as connection:
        return connection.execute("SELECT DISTINCT function_name, function_type FROM duckdb_functions()").fetchall()


def test_no_function_that_reaches_out_is_callable(opened: duckdb.DuckDBPyConnection) -> None:
    callable_ones = set()
    for name, kind in all_functions():
        for form in (
            f'SELECT "{name}"(1)',
            f'SELECT "{name}"(1) OVER ()',
            f'FROM "{name}"(1)',
            f'SELECT main."{name}"(1)',
        ):
            is_table = kind in ("table", "table_macro", "pragma")
            if is_table != form.startswith("FROM"):
                continue
            try:
                checked(opened, form)
            except QueryError:
                continue
            callable_ones.add(name)
    assert {name for name in callable_ones if REACHES_OUT.search(name)} - INNOCENT == set()
    tables = {name for name, kind in all_functions() if kind in ("table", "table_macro", "pragma")}
    scalars = {name for name, kind in all_functions() if kind not in ("table", "table_macro", "pragma")}
    assert callable_ones & (tables - scalars) <= TABLE_FUNCTIONS
    assert len(callable_ones) > 500


@given(st.text(max_size=200) | st.lists(st.sampled_from(
    ["SELECT", "FROM", "COPY", "TO", "'/tmp/x'", "(", ")", "t", ";", "ATTACH", "a", ",", "EXPLAIN", "ANALYZE", "WITH",
     "AS", "read_text('/etc/passwd')", "--", "/*", "*/", "$$", "SET", "PIVOT", "DESCRIBE", "1", "UNION",
     "query('COPY t TO x')"]
), max_size=12).map(" ".join))  # fmt: skip
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_is_refused_or_answered_with_rows(opened: duckdb.DuckDBPyConnection, text: str) -> None:
    try:
        statement = checked(opened, text)
    except QueryError:
        return
    (kind,) = {found.type for found in opened.extract_statements(statement)}
    assert kind in (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN)


@pytest.mark.parametrize("form", ["table", "csv"])
@pytest.mark.parametrize(
    ("target", "says"),
    [("| head -1", ""), (">/dev/full", "Error: the output cannot be written: No space left on device\n")],
)
def test_an_output_that_takes_no_more_is_not_the_replicas_fault(
    replica: pathlib.Path, data_dir: pathlib.Path, form: str, target: str, says: str
) -> None:
    command = f'"$0" -m pipeline --data-dir "$1" query --format {form} "FROM range(20000)" --limit 20000 {target}'
    ended = subprocess.run(
        ["/bin/bash", "-o", "pipefail", "-c", command, sys.executable, str(data_dir)],
        cwd=ROOT, env=environment(data_dir), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (ended.returncode, ended.stderr) == (1, says)


def test_time_is_bounded(replica: pathlib.Path) -> None:
    result = run(
        "SELECT count(*) FROM range(10000000) a, range(10000000) b WHERE a.range * b.range % 7 = 3", "--timeout", "0.2"
    )
    assert result.exit_code == 1 and "no answer within 0.2 s" in result.stderr


def test_time_is_bounded_where_a_file_is_written(replica: pathlib.Path, tmp_path: pathlib.Path) -> None:
    out = tmp_path / "a.parquet"
    result = run("FROM range(100000000000)", "--timeout", "0.2", "--output", str(out))
    assert result.exit_code == 1 and "no answer within 0.2 s" in result.stderr
    assert not out.exists() and not list(tmp_path.glob(".*"))


def test_memory_is_bounded(replica: pathlib.Path) -> None:
    result = run("SELECT length(repeat('x', 3000000000))", "--memory", "64", "--format", "csv")
    assert result.exit_code == 1 and "more than 64 MB" in result.stderr


@pytest.mark.parametrize("name", ["a.xlsx", "a", "a.csv.gz", "a.txt"])
def test_unknown_ending_is_refused(replica: pathlib.Path, tmp_path: pathlib.Path, name: str) -> None:
    result = run("SELECT 1", "--output", str(tmp_path / name))
    assert result.exit_code == 1 and ".parquet" in result.stderr and not (tmp_path / name).exists()
    assert run("SELECT 1", "--output", str(tmp_path / name), "--format", "csv").exit_code == 0


@pytest.mark.parametrize("size", [0, 1, 10_000, 10_001])
def test_files_are_whole_at_the_edges_of_a_batch(replica: pathlib.Path, tmp_path: pathlib.Path, size: int) -> None:
    for form in ("csv", "json", "parquet"):
        assert run(f"FROM range({size})", "--output", str(tmp_path / f"a.{form}")).exit_code == 0
    assert (tmp_path / "a.csv").read_text().count("\n") == size + 1
    assert json.loads((tmp_path / "a.json").read_text()) == [{"range": number} for number in range(size)]
    assert pq.read_table(tmp_path / "a.parquet").num_rows == size


def test_name_is_shown_as_it_is_without_its_commands(replica: pathlib.Path) -> None:
    shown = run("SELECT name FROM nasdaq_symbols WHERE symbol = 'AAA'").stdout
    assert "[/] :x: \\x1b[2J\\u202eevil" in shown and "\x1b" not in shown and "\u202e" not in shown


def test_csv_is_exact_and_can_be_made_safe_for_a_spreadsheet(replica: pathlib.Path) -> None:
    sql = "SELECT name, -1 AS number FROM nasdaq_symbols WHERE symbol = 'BBB'"
    assert run(sql, "--format", "csv").stdout == "name,number\n=1+1,-1\n"
    assert run(sql, "--format", "csv", "--excel-safe").stdout == "name,number\n'=1+1,-1\n"
    assert run('SELECT 1 AS "=1+1"', "--format", "csv", "--excel-safe").stdout == "'=1+1\n1\n"


@pytest.mark.parametrize(
    "sql",
    [
        "SHOW TABLES", "DESCRIBE nasdaq_symbols", "SUMMARIZE nasdaq_symbols", "EXPLAIN FROM nasdaq_symbols",
        "EXPLAIN ANALYZE SELECT 1", "VALUES (1)", "TABLE nasdaq_symbols",
        "PIVOT nasdaq_symbols ON symbol IN ('AAA') USING count(*)",
        "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 5) FROM r", "SELECT unnest([1, 2])",
        "FROM nasdaq_symbols a ASOF JOIN nasdaq_symbols b ON a.symbol >= b.symbol",
        "FROM pragma_table_info('nasdaq_symbols')",
        "SELECT list_transform([1, 2], lambda x: x + 1)", "FROM information_schema.tables", "SELECT 1 -- a remark",
        "SELECT date_trunc('month', date), avg(close) OVER (PARTITION BY symbol) FROM stock_data",
    ],
)  # fmt: skip
def test_what_an_analyst_asks_is_answered(replica: pathlib.Path, sql: str) -> None:
    result = run(sql)
    assert result.exit_code == 0, result.output


def test_bound_on_memory_ends_with_the_answer(replica: pathlib.Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_DATA)
    run("SELECT 1")
    run("SELEC 1")
    assert resource.getrlimit(resource.RLIMIT_DATA) == before


def test_a_wide_answer_is_shown_as_records_or_as_what_has_room(
    replica: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminal, "WIDTH_OF_A_FILE", 40)
    wide = (
        "SELECT 'AAA' AS symbol, 182.52000427246094::DOUBLE AS close, repeat('x', 60) AS name, "
        "DATE '2024-02-20' AS date"
    )
    answer = run(wide).output
    assert re.search(r"^symbol  AAA\nclose   182.52\nname    x{60}\ndate    2024-02-20$", answer, re.MULTILINE)
    many = f"SELECT * FROM ({wide}), range({11})"
    answer = run(many).output
    assert "│ AAA    │ 182.52 │ xxx" in answer
    assert "left out at 40 characters: date, range" in " ".join(answer.split())
    assert run(many, "--format", "records").output.count("symbol  AAA") == 11
    assert json.loads(run(wide, "--format", "json").output)[0]["close"] == 182.52000427246094


def test_records_are_no_file(replica: pathlib.Path, tmp_path: pathlib.Path) -> None:
    answer = run("SELECT 1", "--format", "records", "--output", str(tmp_path / "a.csv"))
    assert answer.exit_code == 1
    assert "a file is csv, json or parquet" in answer.output
