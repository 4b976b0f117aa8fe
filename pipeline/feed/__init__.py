"""What other programs read in Redis: the watchlist with its bars, levels for live detection, and the mirror of metrics.

In: the published replica. Out: keys in Redis, all of which can be lost and written again. Fills no table. `runs`, the
tasks and the commands may import it.
"""
