"""Chaos on real processes: `python -m loadtest.chaos`.

Clients at load talk and move while workers, edges, Valkey and the connections to it are killed, paused, restarted, cut
and delayed in an order that a seed decides. All that the clients see is written down and judged afterwards.
"""
