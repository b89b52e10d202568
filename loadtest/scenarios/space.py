"""`space`: people move and talk in rooms, at a steady rate."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from common.arguments import count, positive
from loadtest.options import whole
from loadtest.own_cluster import let_in, let_move
from loadtest.scenario import Findings, Option, Scenario, Stage, Values

if TYPE_CHECKING:
    from loadtest.plan import Plan

MEMBERS: Final = Option("members", count, 40, "members of each room")
RATE: Final = Option("rate", positive, 20.0, "transforms a second for each mover")
MOVERS: Final = Option("movers", whole, 0, "members of each room that move, while the others watch; 0: all")
ROOMS: Final = Option("rooms", count, 1, "rooms")
SECONDS: Final = Option("seconds", positive, 15.0, "measured time, after two seconds to warm up")
CHATS: Final = Option("chats", positive, 1.0, "chat messages a second in each room; its members take turns")
GENERATORS: Final = Option("generators", count, 1, "processes that make the load")


def planned(stage: Stage) -> "Plan":
    """Return the plan that the values ask for."""
    from loadtest.play import plan_of

    values = stage.values
    return plan_of(
        stage,
        rooms=values[ROOMS],
        members=values[MEMBERS],
        movers=values[MOVERS],
        rate=values[RATE],
        seconds=values[SECONDS],
        chats=values[CHATS],
        generators=values[GENERATORS],
    )


def settings_of(values: Values) -> Mapping[str, str]:
    """See `Scenario.settings`."""
    return {**let_in(values[ROOMS] * values[MEMBERS]), **let_move(values[RATE])}


async def _run(stage: Stage) -> Findings:
    from loadtest.moving import findings_of
    from loadtest.play import play

    return findings_of([await play(stage, planned(stage))])


SCENARIO: Final = Scenario(
    name="space",
    summary="people move and talk in a room: latency, loss, order, and what an update costs",
    options=(MEMBERS, MOVERS, RATE, ROOMS, SECONDS, CHATS, GENERATORS),
    run=_run,
    settings=settings_of,
)
