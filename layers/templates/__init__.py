"""What ``lmzoo new`` writes: small parts that work, each a file that imports lmzoo as its users do."""
