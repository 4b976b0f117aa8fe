"""What happened, and who is told: a luigi process from its first line to its last, on either scheduler.

In: Luigi's events. Out: `task_runs` and `alerts`, the tables it fills, messages, and the central scheduler with our
rules. The report, the tasks and the commands may import it.
"""
