"""One module per family, each with ``bench(quick: bool) -> dict``."""
