"""Ordered changes of the tables, forward only: the way back is a copy of the database. They travel inside the wheel."""
