"""One module per reproduced figure or table; `python -m experiments list` shows them."""
