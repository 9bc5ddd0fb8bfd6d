"""What the command's exit code tells a script that called it."""

from __future__ import annotations

__all__ = ["BAD_FILE", "BROKEN", "DUPLICATES", "EXIT_CODES", "INTERRUPTED", "UNFINISHED"]

#: A file that was asked about can't be used.
BAD_FILE = 3
#: A merge found events twice and kept them.
DUPLICATES = 4
#: An operator has to look at what is left.
UNFINISHED = 5
#: Books don't close, or what the catalog knows isn't there.
BROKEN = 6
#: Ctrl-C, or SIGINT from a batch system.
INTERRUPTED = 130

#: Every exit code and what it means.
EXIT_CODES = {
    0: "done",
    1: "a bug in this software",
    2: "the call, a name or the settings are wrong",
    BAD_FILE: "an input file is missing, corrupt or can't be carried",
    DUPLICATES: "the same event twice",
    UNFINISHED: "not finished: the user's code failed, or held jobs or bad files wait for an operator",
    BROKEN: "the books of events don't close",
    7: "the ledger or its gateway refuses or can't be reached",
    8: "an output exists already or can't be written",
    9: "the installation is broken",
    INTERRUPTED: "interrupted; the same command continues",
}
