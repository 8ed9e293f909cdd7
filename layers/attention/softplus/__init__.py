"""Softplus attention with re-weighting (LSSA, LSSAR): the layer, its function, and its kernels."""
