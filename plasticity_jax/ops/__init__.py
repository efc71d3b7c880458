"""Pure functions without state: norms, noise, losses. Internal: the packages above export what users need."""
