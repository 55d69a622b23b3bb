"""Decisions, and the words they are made in. Standard library only; no clock, no I/O. Read this package first.

Order of reading: taxonomy, inventory, observation, classify, ratelimits, health, diagnosis, timeline.
"""
