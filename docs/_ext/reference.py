"""Entries of public names for the pages of docs/api."""

from sphinx.application import Sphinx


def setup(app: Sphinx) -> dict[str, bool]:
    """Nothing yet."""
    return {"parallel_read_safe": True, "parallel_write_safe": True}
