"""ROOT files: read, write, verify, split, merge."""
