"""Pure maths of one piece, without state: norms, noise, losses. Internal: the rooms above export what users need."""
