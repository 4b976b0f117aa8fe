"""What engines other than DuckDB read: bars, indicators, watchlist, actions and coverage as Apache Iceberg tables.

In: the published replica. Out: a warehouse, a folder or a bucket, with one snapshot of each table for every publication
that changed it. Everything in it can be published again from the replica. Fills no table of the database. The tasks may
import it.

A table is cut into months, a file each. Its properties hold a digest of every month, committed with the files: a
publication compares them with the replica's and writes the months that differ. So a rerun writes nothing, a killed one
is taken up where it stopped, and whatever changed the past (a split, a correction, a ticker that moved) reaches the
warehouse without a record of its own.
"""
