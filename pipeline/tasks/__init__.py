"""The stages, one file each, in the order in which the data passes through them.

symbols, prices, indicators, watchlist, replica, notify, then report and cleanup, and daily, which closes the session.
"""
