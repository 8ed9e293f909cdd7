"""Folders of runs: what they hold, what is done, and which records may share a table."""
