"""The indicators of every symbol's last session with pandas, a symbol at a time: `with_pandas.py FOLDER FOLDER`."""

import pathlib
import sys

import numpy as np
import pandas as pd


def smoothed(seed: pd.Series, value: pd.Series, start: int, alpha: float) -> pd.Series:
    """TA-Lib's average: `seed` at the bar `start`, from there on alpha * value + (1 - alpha) * the one before."""
    values = value.to_numpy(dtype=float, copy=True)
    values[:start] = np.nan
    values[start] = seed.iloc[start]
    return pd.Series(values, value.index).ewm(alpha=alpha, adjust=False, ignore_na=True).mean()


def last_session(bars: pd.DataFrame) -> dict[str, object]:
    close = bars["close"]
    step = close.diff()
    up, down = (
        smoothed(move.rolling(14).mean(), move, 14, 1 / 14) for move in (step.clip(lower=0), -step.clip(upper=0))
    )
    macd = smoothed(close.rolling(12).mean(), close, 25, 2 / 13) - smoothed(close.rolling(26).mean(), close, 25, 2 / 27)
    signal = smoothed(macd.rolling(9).mean(), macd, 33, 0.2)
    middle, deviation = close.rolling(20).mean(), 2 * close.rolling(20).std(ddof=0)
    columns = {
        "rsi_14": 100 * up / (up + down),
        "macd": macd, "macd_signal": signal, "macd_hist": macd - signal,
        "bb_upper": middle + deviation, "bb_middle": middle, "bb_lower": middle - deviation,
        "bb_position": (close - middle + deviation) / (2 * deviation),
        "sma_20": middle, "sma_50": close.rolling(50).mean(),
        "avg_volume_30": bars["volume"].rolling(30).mean().shift(1),
    }  # fmt: skip
    last = {"symbol": bars["symbol"].iloc[-1], "date": bars["date"].iloc[-1]}
    return {**last, **{name: column.iloc[-1] for name, column in columns.items()}}


if __name__ == "__main__":
    stored = pd.read_parquet(sys.argv[1])
    found = pd.DataFrame([last_session(bars) for _, bars in stored.groupby("symbol", sort=False)])
    found.to_parquet(pathlib.Path(sys.argv[2], "all.parquet"))
