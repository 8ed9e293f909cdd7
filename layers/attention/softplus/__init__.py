"""Softplus attention with re-weighting (LSSA, LSSAR).

The layer stands on the function in ``functional.py``, that on the operator in ``operator.py``, and that on one of two
kernels: ``kernel.py``, strips for any device, and ``triton.py`` with ``triton_kernels.py`` for CUDA.
"""
