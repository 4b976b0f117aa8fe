"""The indicators of every symbol's last session by Spark's groupBy and applyInPandas: `with_spark.py FOLDER FOLDER`."""

import sys

from pyspark.sql import SparkSession

COLUMNS = (
    "rsi_14", "macd", "macd_signal", "macd_hist", "bb_upper", "bb_middle", "bb_lower", "bb_position", "sma_20",
    "sma_50", "avg_volume_30",
)  # fmt: skip


def last_session(bars):
    import pandas
    import talib

    bars = bars.sort_values("date")
    close, volume = (bars[name].to_numpy(dtype=float) for name in ("close", "volume"))
    upper, middle, lower = talib.BBANDS(close, 20, 2.0, 2.0)
    values = [
        talib.RSI(close, 14), *talib.MACD(close, 12, 26, 9), upper, middle, lower, (close - lower) / (upper - lower),
        talib.SMA(close, 20), talib.SMA(close, 50), talib.SMA(volume[:-1], 30),
    ]  # fmt: skip
    keys = {"symbol": bars["symbol"].iloc[-1], "date": bars["date"].iloc[-1]}
    return pandas.DataFrame([{**keys, **{name: value[-1] for name, value in zip(COLUMNS, values, strict=True)}}])


if __name__ == "__main__":
    spark = SparkSession.builder.master("local[2]").appName("groupBy").getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    schema = "symbol string, date date, " + ", ".join(f"{name} double" for name in COLUMNS)
    found = spark.read.parquet(sys.argv[1]).groupBy("symbol").applyInPandas(last_session, schema)
    found.write.mode("overwrite").parquet(sys.argv[2])
    spark.stop()
