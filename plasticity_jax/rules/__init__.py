"""Learning rules, one file each, in wings that never import each other."""
