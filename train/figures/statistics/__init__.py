"""Is a difference real: paired by seed, with intervals, corrected for how many were looked at."""
