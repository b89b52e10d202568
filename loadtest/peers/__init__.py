"""Servers of others that do the same work, and the measurement of Roomring beside them."""
