"""What other systems wait for: events, written into the table `outbox` in the transaction of the rows they tell of.

In: rows as stages, bars and watchlists change. Out: `outbox`, which `pipeline.feed.delivery` hands on after the commit.
Fills `outbox`. Every room above the database may import it.
"""
