"""Merge trees without unpacking what they hold: baskets are copied as they are, the tree's description is rewritten.

What a tree says of itself is taken from the first input, byte by byte; only counts, positions and limits change. So
any tree goes through, whatever its branches hold.
"""
