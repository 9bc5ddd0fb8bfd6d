"""Objects that are no trees: histograms and graphs are added up, all others must be the same everywhere.

What an object says of itself is taken from the first input, byte by byte; only what adds up is filled in anew.
"""
