"""What people type: the command line `pipeline`, one command a file in `commands/`.

In: words on a command line. Out: tables on a terminal, exit codes, and, where work is to be done, a run of Luigi.
Nobody imports it.
"""
