"""`many-rooms`: many small rooms at once, which leaves little to gather for a write."""

from collections.abc import Mapping
from typing import Final

from common.arguments import count, positive
from loadtest.own_cluster import let_in, let_move
from loadtest.scenario import Findings, Option, Scenario, Stage, Values

ROOMS: Final = Option("rooms", count, 1_000, "rooms")
MEMBERS: Final = Option("members", count, 5, "members of each room")
RATE: Final = Option("rate", positive, 1.0, "transforms a second for each member")
SECONDS: Final = Option("seconds", positive, 15.0, "measured time")
WARM_UP: Final = Option("warm-up", positive, 5.0, "time after the last join that is not measured, seconds")
CHATS: Final = Option("chats", positive, 0.05, "chat messages a second in each room; its members take turns")
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
        warmup_s=values[WARM_UP],
    )
    return findings_of([await play(stage, plan)])


def _settings(values: Values) -> Mapping[str, str]:
    return {**let_in(values[ROOMS] * values[MEMBERS]), **let_move(values[RATE])}


SCENARIO: Final = Scenario(
    name="many-rooms",
    summary="many small rooms: what an update costs where few go together",
    options=(ROOMS, MEMBERS, RATE, SECONDS, WARM_UP, CHATS, GENERATORS),
    run=run,
    settings=_settings,
)
