"""Positions: on queries and keys, on scores, or on the embedding."""
