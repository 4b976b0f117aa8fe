"""What runs, in which order: the stages, one file each, in the order in which the data passes through them.

symbols, prices, indicators, watchlist, replica, notify, then report and cleanup, and daily, which closes the session;
redis_sync feeds Redis after that, ranges runs many sessions. A stage reads its input, lands its result, and writes rows
and marker in one transaction; how it is done is the rooms' below. Only the commands may import it.
"""
