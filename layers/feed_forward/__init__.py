"""Feed-forward layers and norms."""
