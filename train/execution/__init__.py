"""Where and how the work of a comparison is carried out: several processes at once, on this machine or a cluster."""
