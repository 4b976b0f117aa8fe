"""One command a file, named as the command is; each has a `command`. A file that is not listed here is no command."""

COMMANDS = (
    "alert-test",
    "alerts",
    "audit",
    "backfill",
    "config",
    "doctor",
    "evaluate",
    "events",
    "explain",
    "query",
    "reset",
    "restore",
    "retry",
    "show",
    "status",
    "try",
    "watchlist",
)
