"""How property tests run here: the same examples every time, few enough for each save of a file.

ROOMRING_TEST_EXAMPLES asks for more, drawn anew each time; what it finds is to become an `@example` or a test.
"""

import os

from hypothesis import HealthCheck, settings

_examples = int(os.environ.get("ROOMRING_TEST_EXAMPLES", "0"))

settings.register_profile(
    "unit",
    max_examples=_examples or 40,
    derandomize=not _examples,
    # A busy machine must not fail a test; pytest's own limit ends one that hangs.
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("unit")
