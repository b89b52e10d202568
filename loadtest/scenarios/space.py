"""`space`: people move and talk in rooms, at a steady rate."""

from collections.abc import Mapping
from typing import Final

from common.arguments import count, positive
from loadtest.own_cluster import let_in, let_move
from loadtest.scenario import Findings, Option, Scenario, Stage, Values

MEMBERS: Final = Option("members", count, 40, "members of each room")
RATE: Final = Option("rate", positive, 20.0, "transforms a second for each member")
ROOMS: Final = Option("rooms", count, 1, "rooms")
SECONDS: Final = Option("seconds", positive, 15.0, "measured time, after two seconds to warm up")
CHATS: Final = Option("chats", positive, 1.0, "chat messages a second in each room; its members take turns")
GENERATORS: Final = Option("generators", count, 1, "processes that make the load")


async def run(stage: Stage) -> Findings:
    """See `Scenario.run`."""
    from loadtest.moving import findings_of
    from loadtest.play import plan_of, play

    values = stage.values
    plan = plan_of(
        stage,
        rooms=values[ROOMS],
        members=values[MEMBERS],
        rate=values[RATE],
        seconds=values[SECONDS],
        chats=values[CHATS],
        generators=values[GENERATORS],
    )
    return findings_of([await play(stage, plan)])


def _settings(values: Values) -> Mapping[str, str]:
    return {**let_in(values[ROOMS] * values[MEMBERS]), **let_move(values[RATE])}


SCENARIO: Final = Scenario(
    name="space",
    summary="people move and talk in a room: latency, loss, order, and what an update costs",
    options=(MEMBERS, RATE, ROOMS, SECONDS, CHATS, GENERATORS),
    run=run,
    settings=_settings,
)
