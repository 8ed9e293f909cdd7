"""``lmzoo analyze``: loss by token frequency, and how varied a run writes."""
