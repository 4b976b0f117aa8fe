"""The real job by a real `spark-submit`, against TA-Lib called on each symbol by itself."""

from __future__ import annotations

import json
import pathlib

import luigi
import luigi.configuration
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import talib

from pipeline.config import ROOT
from pipeline.errors import SparkJobError
from pipeline.indicators import kernel
from pipeline.indicators.spark.submit import SparkJob

pytestmark = pytest.mark.spark

SESSIONS = 120
SYMBOLS = ["NA", "TRUE", "ON", "NAN", *(f"S{number:03d}" for number in range(36))]
#: A company that was listed lately.
YOUNG = {"S000": 10, "S001": 31}


class Indicators(SparkJob):
    app = str(ROOT / "pipeline" / "indicators" / "job.py")
    name = "indicators"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("indicators job")
    config = luigi.configuration.get_config()
    before = config.get("storage", "data_dir", None)
    config.set("storage", "data_dir", str(folder / "data"))
    yield folder
    if before is None:
        config.remove_option("storage", "data_dir")
    else:
        config.set("storage", "data_dir", before)


def history(symbol: str) -> dict[str, np.ndarray]:
    count = YOUNG.get(symbol, SESSIONS)
    random = np.random.default_rng(SYMBOLS.index(symbol))
    close = 50 * np.exp(np.cumsum(random.normal(0, 0.02, count)))
    return {"close": close, "volume": random.integers(10_000, 2**33, count)}


def write_bucket(path: pathlib.Path, symbols: list[str]) -> None:
    """The symbols' bars; the last three sessions of each are wanted."""
    tables = []
    for symbol in sorted(symbols):
        bars = history(symbol)
        count = len(bars["close"])
        days = np.datetime64("2024-01-01") + np.arange(SESSIONS - count, SESSIONS)
        prices = {name: bars["close"] for name in ("open", "high", "low", "close")}
        wanted = np.arange(count) >= count - 3
        columns = {"symbol": [symbol] * count, "date": days, **prices, "volume": bars["volume"], "wanted": wanted}
        tables.append(pa.table(columns).cast(kernel.INPUT_SCHEMA))
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.concat_tables(tables), path)


@pytest.fixture(scope="module")
def computed(folder) -> pathlib.Path:
    """Three buckets in the two layouts that are taken, one file that is not ours, and what an earlier run left."""
    source, target = folder / "bars", folder / "values"
    write_bucket(source / "bucket=0" / "data_0.parquet", SYMBOLS[::3])
    write_bucket(source / "bucket=1" / "data_0.parquet", SYMBOLS[1::3])
    write_bucket(source / "more.parquet", SYMBOLS[2::3])
    (source / ".more.parquet.1.partial.parquet").write_bytes(b"half")
    target.mkdir()
    (target / "part-0099.parquet").write_bytes(b"old")
    names = [name for name in kernel.INDICATORS if name != "sma_50"]
    Indicators().submit([str(source), str(target), "--indicators", ",".join(names)])
    return target


def test_equals_talib(computed):
    rows = pq.read_table(computed).to_pylist()
    assert sorted({row["symbol"] for row in rows}) == sorted(SYMBOLS)
    assert len(rows) == 3 * len(SYMBOLS)
    by_symbol = {symbol: [row for row in rows if row["symbol"] == symbol] for symbol in SYMBOLS}
    for symbol, mine in by_symbol.items():
        close, volume = history(symbol)["close"], history(symbol)["volume"].astype(float)
        upper, middle, lower = talib.BBANDS(close, 20, 2, 2)
        macd, signal, histogram = talib.MACD(close, 12, 26, 9)
        before = [volume[:-back].tolist()[-30:] for back in (3, 2, 1)]
        expected = {
            "rsi_14": talib.RSI(close, 14)[-3:],
            "macd": macd[-3:],
            "macd_signal": signal[-3:],
            "macd_hist": histogram[-3:],
            "bb_upper": upper[-3:],
            "bb_middle": middle[-3:],
            "bb_lower": lower[-3:],
            "bb_position": ((close - lower) / (upper - lower))[-3:],
            "sma_20": talib.SMA(close, 20)[-3:],
            "sma_50": [np.nan] * 3,
            "avg_volume_30": [np.mean(days) if len(days) == 30 else np.nan for days in before],
        }
        for column, oracle in expected.items():
            got = np.array([row[column] for row in mine], dtype=float)
            np.testing.assert_allclose(got, oracle, rtol=1e-9, err_msg=f"{symbol} {column}")


def test_writes_one_file_a_bucket_and_says_how_much(computed):
    assert sorted(path.name for path in computed.iterdir()) == [
        "_SUCCESS.json",
        "part-0000.parquet",
        "part-0001.parquet",
        "part-0002.parquet",
    ]
    summary = json.loads((computed / "_SUCCESS.json").read_text())
    assert summary["rows"] == 3 * len(SYMBOLS)
    for name, rows in summary["files"].items():
        assert pq.read_metadata(computed / name).num_rows == rows
        assert pq.read_schema(computed / name) == kernel.OUTPUT_SCHEMA


def test_a_broken_input_is_named(folder):
    """Cut short in one bucket, a hole in the prices of the other. In a data folder of its own, as every first job: the
    second one takes longer."""
    luigi.configuration.get_config().set("storage", "data_dir", str(folder / "other data"))
    source, target = folder / "broken", folder / "no values"
    write_bucket(source / "a.parquet", SYMBOLS[:2])
    whole = (source / "a.parquet").read_bytes()
    (source / "b.parquet").write_bytes(whole[: len(whole) // 2])
    bars = pq.read_table(source / "a.parquet")
    holed = bars.set_column(5, "close", pa.array([None, *bars["close"].to_pylist()[1:]], pa.float64()))
    pq.write_table(holed, source / "c.parquet")
    with pytest.raises(SparkJobError) as raised:
        Indicators().submit([str(source), str(target), "--indicators", "sma_20"])
    message = str(raised.value)
    assert "2 of 3 input files cannot be used" in message
    assert f"{source}/b.parquet: " in message
    assert f"{source}/c.parquet: no usable close for NA on 2024-01-01: None" in message
    assert not (target / "_SUCCESS.json").exists()
