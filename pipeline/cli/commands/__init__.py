"""One command a file, named as the command is; each has a `command`."""
