"""Pure maths of one piece, without state: norms, noise, leaky filters."""
