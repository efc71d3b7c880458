"""The tests; a package, so that `tests.oracles` is ours and not another distribution's."""
