"""What is found: the view of a session, the scans over it, and what their hits did afterwards.

In: bars, indicators and listings as `day_view`. Out: rows of `daily_watchlist`, the one table it fills. Expressions
that people wrote run in `sandbox`, nowhere else. The rooms from `feed` on may import it.
"""
