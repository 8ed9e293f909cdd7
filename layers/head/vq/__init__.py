"""The VQ-Logits head: a codebook in place of one row a token."""
