"""Who is asked, and what an answer is: the NASDAQ screener, Yahoo's charts, files of a vendor, a simulated market.

In: symbols and spans of sessions. Out: listings, and answers landed in `raw/` as Parquet (`answers`). Fills no table
and never opens the database. `registry` names every source. The rooms from `market` on may import it; only the stages
that collect ask a source.
"""
