"""The commands of `pipeline`: the module `NAME.py` holds the click command `command`, called as `pipeline NAME`."""
