"""How good a rule's credit is: comparisons with what is exact, computed beside the learning and never part of it."""
