"""Edges: they end WebSockets, check tokens, and know who listens to what here; they know no rule of a room.

`connection.py` is one client's side of the contract and `hub.py` the rooms that this edge serves, neither
with IO. `gateway.py` is the shell around them; `uplink.py` carries commands to the workers.
"""
