"""``lmzoo diagnose``: what a run's attention layers have learned."""
