"""Ratios measured within one run: what the product costs beside what it could cost at best.

`python -m benchmarks` prints a table. No absolute time is an aim: only ratios of things that are measured
in turns, on the same machine, minutes apart at most.
"""
