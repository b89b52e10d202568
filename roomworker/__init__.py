"""Room workers: they own rooms, and know no socket.

`room.py` is one room, `rules.py` and the kinds beside it say what happens in it, `engine.py` turns a batch of
input into one commit; none of them does IO. `worker.py` is the shell around them, with `ownership.py` and
`membership.py` deciding which shards to take and to give.
"""
