"""How figures are shown: tables, plots, and the statistics beside them."""
