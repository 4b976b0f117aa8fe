"""What a process has of its machine: files that appear whole, folders of its own, child processes that end with it.

In: paths, commands, the process itself. Out: files that are renamed into place, and whose a lock, a file or a run is
(host, pid, start). Fills no table. Every room may import it; it knows the ground alone.
"""
