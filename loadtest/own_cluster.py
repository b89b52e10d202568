"""Settings that a cluster of a load test's own needs, where the defaults protect against what the test does. No IO."""

from collections.abc import Mapping
from typing import Final

_CONNECTS_BURST: Final = 500
_CONNECTIONS: Final = 20_000
_TRANSFORMS_PER_SECOND: Final = 20.0


def let_in(connections: int) -> Mapping[str, str]:
    """Return the settings with which an edge takes so many connections at once, from one machine."""
    return {
        "ROOMRING_CONNECTS_BURST": str(max(_CONNECTS_BURST, connections)),
        "ROOMRING_CONNECTIONS_MAX": str(max(_CONNECTIONS, connections)),
    }


def let_move(rate: float) -> Mapping[str, str]:
    """Return the settings with which a person may move `rate` times a second."""
    return {"ROOMRING_TRANSFORMS_PER_SECOND_DESKTOP": f"{max(_TRANSFORMS_PER_SECOND, rate):g}"}
