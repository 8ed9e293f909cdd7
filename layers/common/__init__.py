"""What parts of several slots share."""
