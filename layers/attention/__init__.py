"""Attention layers, a file each, on the frame in ``attention.py``.

- complex multi-head attention (CMHA): ``complex_attention.py``, with its map of phases in ``phase_map.py``;
- softplus attention with re-weighting (LSSA, LSSAR): ``softplus/``;
- softmax and its relatives: ``softmax_``, ``qk_norm_``, ``ssmax_``, ``sigmoid_`` and ``relu_attention.py``.

Shared by them: ``visibility.py`` (which keys a row sees), ``softmax_mix.py``, ``cache.py`` and ``sliding_window.py``.
"""
