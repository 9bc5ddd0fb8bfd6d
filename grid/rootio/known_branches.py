"""The branches that mean something by their names. Imports nothing, for those who never open a file."""

from __future__ import annotations

__all__ = ["DEFAULT_IDENTITY"]

#: The branches that identify an event unless others are named; the first two are its run section.
DEFAULT_IDENTITY = ("run", "luminosityBlock", "event")
