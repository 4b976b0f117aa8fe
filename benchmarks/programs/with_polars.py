"""The indicators of every symbol's last session as Polars expressions: `with_polars.py FOLDER FOLDER`."""

import pathlib
import sys

import polars as pl


def smoothed(seed: pl.Expr, value: pl.Expr, start: int, alpha: float) -> pl.Expr:
    """TA-Lib's average: `seed` at the bar `start`, from there on alpha * value + (1 - alpha) * the one before."""
    place = pl.int_range(pl.len())
    values = pl.when(place == start).then(seed).when(place > start).then(value)
    return values.ewm_mean(alpha=alpha, adjust=False, ignore_nulls=True)


def indicators(bars: pl.LazyFrame) -> pl.LazyFrame:
    close, step, by = pl.col("close"), pl.col("close").diff(), "symbol"
    gain, loss = step.clip(lower_bound=0), (-step).clip(lower_bound=0)
    fast = smoothed(close.rolling_mean(12), close, 25, 2 / 13)
    slow = smoothed(close.rolling_mean(26), close, 25, 2 / 27)
    deviation = 2 * close.rolling_std(20, ddof=0)
    bars = bars.with_columns(
        up=smoothed(gain.rolling_mean(14), gain, 14, 1 / 14).over(by),
        down=smoothed(loss.rolling_mean(14), loss, 14, 1 / 14).over(by),
        macd=(fast - slow).over(by),
        sma_20=close.rolling_mean(20).over(by),
        sma_50=close.rolling_mean(50).over(by),
        deviation=deviation.over(by),
        avg_volume_30=pl.col("volume").cast(pl.Float64).rolling_mean(30).shift(1).over(by),
    )
    macd = pl.col("macd")
    bars = bars.with_columns(macd_signal=smoothed(macd.rolling_mean(9), macd, 33, 0.2).over(by)).filter("wanted")
    lower = pl.col("sma_20") - pl.col("deviation")
    return bars.select(
        "symbol", "date", "macd", "macd_signal", "sma_20", "sma_50", "avg_volume_30",
        rsi_14=100 * pl.col("up") / (pl.col("up") + pl.col("down")),
        macd_hist=macd - pl.col("macd_signal"),
        bb_upper=pl.col("sma_20") + pl.col("deviation"), bb_middle=pl.col("sma_20"), bb_lower=lower,
        bb_position=(close - lower) / (2 * pl.col("deviation")),
    )  # fmt: skip


if __name__ == "__main__":
    found = indicators(pl.scan_parquet(pathlib.Path(sys.argv[1], "*.parquet"))).collect()
    found.write_parquet(pathlib.Path(sys.argv[2], "all.parquet"))
