"""``lmzoo compare``: variants x seeds, trained, evaluated and reported."""
