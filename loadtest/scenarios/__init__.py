"""The kinds of load tests, one module for each; see `loadtest/scenario.py`."""
