"""``lmzoo bench``: parts against their baselines, interleaved in one process."""
