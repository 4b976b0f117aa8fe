"""The indicators of every symbol's last session in DuckDB's SQL: `with_duckdb.py FOLDER FOLDER`.

SQL has no recursive average over a window; its closed form is used, a sum with weights that grow from bar to bar. They
leave the range of a double after some 4,000 bars of a symbol.
"""

import pathlib
import sys

import duckdb


def smoothed(seed: str, value: str, start: int, alpha: float) -> str:
    """TA-Lib's average: `seed` at the bar `start`, from there on alpha * value + (1 - alpha) * the one before."""
    kept = f"({1 - alpha!r})::DOUBLE"
    later = f"{alpha!r}::DOUBLE * {value} * {kept} ^ ({start} - i)"
    term = f"CASE WHEN i = {start} THEN {seed} WHEN i > {start} THEN {later} END"
    return f"{kept} ^ (i - {start}) * sum({term}) OVER days"


QUERY = f"""
    COPY (
        WITH numbered AS (
            SELECT symbol, date, close, volume, wanted, row_number() OVER days - 1 AS i,
                   greatest(close - lag(close) OVER days, 0) AS gain, greatest(lag(close) OVER days - close, 0) AS loss
            FROM read_parquet($source) WINDOW days AS (PARTITION BY symbol ORDER BY date)
        ),
        seeds AS (
            SELECT *, avg(close) OVER (days ROWS 11 PRECEDING) AS fast,
                   avg(close) OVER (days ROWS 25 PRECEDING) AS slow,
                   avg(gain) OVER (days ROWS 13 PRECEDING) AS gains, avg(loss) OVER (days ROWS 13 PRECEDING) AS losses,
                   avg(close) OVER (days ROWS 19 PRECEDING) AS sma_20,
                   avg(close) OVER (days ROWS 49 PRECEDING) AS sma_50,
                   2 * stddev_pop(close) OVER (days ROWS 19 PRECEDING) AS deviation,
                   avg(volume) OVER (days ROWS BETWEEN 30 PRECEDING AND 1 PRECEDING) AS avg_volume_30
            FROM numbered WINDOW days AS (PARTITION BY symbol ORDER BY date)
        ),
        averages AS (
            SELECT *, {smoothed("gains", "gain", 14, 1 / 14)} AS up, {smoothed("losses", "loss", 14, 1 / 14)} AS down,
                   {smoothed("fast", "close", 25, 2 / 13)} - {smoothed("slow", "close", 25, 2 / 27)} AS macd
            FROM seeds WINDOW days AS (PARTITION BY symbol ORDER BY date)
        ),
        begun AS (
            SELECT *, avg(macd) OVER (PARTITION BY symbol ORDER BY date ROWS 8 PRECEDING) AS begin FROM averages
        ),
        signals AS (
            SELECT *, {smoothed("begin", "macd", 33, 0.2)} AS macd_signal
            FROM begun WINDOW days AS (PARTITION BY symbol ORDER BY date)
        )
        SELECT symbol, date, 100 * up / (up + down) AS rsi_14, macd, macd_signal, macd - macd_signal AS macd_hist,
               sma_20 + deviation AS bb_upper, sma_20 AS bb_middle, sma_20 - deviation AS bb_lower,
               (close - sma_20 + deviation) / (2 * deviation) AS bb_position, sma_20, sma_50, avg_volume_30
        FROM signals WHERE wanted
    ) TO '{{target}}' (FORMAT parquet, COMPRESSION zstd)
"""

if __name__ == "__main__":
    target = str(pathlib.Path(sys.argv[2], "all.parquet")).replace("'", "''")
    duckdb.execute(QUERY.replace("{target}", target), {"source": f"{sys.argv[1]}/*.parquet"})
