"""One module for each kind of server that the generator can speak to; see loadtest/dialect.py."""
