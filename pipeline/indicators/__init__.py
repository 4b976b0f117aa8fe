"""What is computed of the bars, and how Spark does it.

In: bars of `stock_data`, as Parquet. Out: one row a bar of `technical_indicators`, the one table it fills. `kernel` is
the one definition of every indicator; `job` is what Spark runs, with `kernel` beside it and nothing else of the
pipeline. The rooms from `watchlist` on may import it.
"""
