"""Measures wrennd and wrennctl beside what people would use in their place.

A probe runs something once and gives figures; a row compares figures of two
probes and has a goal. Each round runs every probe once, so that what is
compared has met the same machine. docs/PERFORMANCE.md explains the figures.
"""
