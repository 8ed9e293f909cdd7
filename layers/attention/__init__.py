"""Attention layers: softmax and its relatives, complex multi-head attention (CMHA), and what they share."""
