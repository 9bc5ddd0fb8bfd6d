"""Bytes at rest: how a file gets its name and its checksums."""
