"""The report of a comparison, from the folders of its runs alone; ``claims/`` holds it against the papers."""
