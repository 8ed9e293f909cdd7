"""Commands about single parts: check, new, bench."""
