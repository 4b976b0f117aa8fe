"""What people look at: the page of a session, the index of all pages, the evaluation of the rules.

In: the tables, read only. Out: HTML files that need nothing else. Fills no table. The tasks and the
commands may import it.
"""
