"""What edges and room workers share: messages, names, settings and the seam to Redis.

Nothing here imports `edge` or `roomworker`; `tests/unit/test_layering.py` checks it.
"""
