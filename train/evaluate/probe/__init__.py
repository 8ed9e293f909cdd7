"""Probes of what a model does with its context: copying, passkeys, loss by distance to the document's start."""
