"""Layers of the zoo put into other people's models."""
