"""Output heads: full, adaptive and vector-quantised (``vq/``)."""
