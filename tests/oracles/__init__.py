"""Independent references in plain NumPy, written from the equations and never from the library's code."""
