"""The VQ-Logits head: a codebook in place of one row a token.

The head stands on ``code_mappings.py`` (which code a token gets), ``token_codes.py`` (the table that is saved),
``vq_nll.py`` and ``class_nll.py`` (likelihoods of codes and within a code) and ``sampling.py``.
"""
