"""Functional networks: their forward step, and the derivatives that learning rules are built from."""
