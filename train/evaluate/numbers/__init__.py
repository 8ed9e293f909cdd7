"""``lmzoo numbers``: how well a run calculates, and its loss on numbers apart from the rest."""
