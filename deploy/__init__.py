"""How processes are started, supervised, checked and described: the command line and what it needs."""
