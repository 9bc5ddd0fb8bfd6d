"""Ordered changes of the tables; they travel inside the wheel."""
