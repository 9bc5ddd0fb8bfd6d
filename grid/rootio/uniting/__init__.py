"""Merge trees that differ in branches, and copy the baskets of all branches that no rule changes.

The output's tree is described anew from those of the inputs: plain branches as our own trees have them, any other as it
stands in the input that has it. Only what an input lacks, or has in a narrower type, is made or unpacked.
"""
