"""Loops over the catalog: each one step function, restartable and idempotent."""
