"""What is true: every durable fact, behind SQLAlchemy. Knows sitecfg and kernels, and nothing of what happens.

=================  ================================================================================
engine             open or make a catalog; reading and writing transactions; the clock
files, find        datasets and files: make known, mark bad; questions
runs, triggers     run sections; trigger tables and menus
productions        submit a production, give it inputs, change its state
jobs, status       make, hold, free and cancel jobs; questions
planning           what a planner and a report ask
work               the ledger: claim, begin, renew, commit, fail, give back, reap
audit, invariants  prove that the books close; look for what must never be
sweep              which files in a folder nobody knows
=================  ================================================================================

Functions take an open transaction first; what they do lasts if and only if that transaction does. Answers are
frozen dataclasses, never rows of the database.
"""
