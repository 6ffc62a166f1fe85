"""Parts of `tests/hosts/run`."""
