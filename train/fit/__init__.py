"""One training run: the Lightning module, its configuration and what it leaves."""
