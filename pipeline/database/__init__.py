"""Where everything lies: the DuckDB file and its tables, the markers of what is done, and the replica for readers.

In: rows, in short transactions of the rooms above. Out: connections, migrations, Luigi targets, a verified read-only
copy. Fills `migrations` and `table_updates`, and no other table. Every room may import it; it knows `host` and the
ground alone.
"""
