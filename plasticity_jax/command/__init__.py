"""The command line ``plasticity``: experiments listed, run, swept, compared and reported."""
