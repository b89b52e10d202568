"""`many-rooms`: many small rooms at once, which leaves little to gather for a write. Else as `space`."""

from dataclasses import replace
from typing import Final

from common.arguments import positive
from loadtest.scenario import Findings, Option, Scenario, Stage
from loadtest.scenarios import space

WARM_UP: Final = Option("warm-up", positive, 5.0, "time after the last join that is not measured, seconds")


async def _run(stage: Stage) -> Findings:
    from loadtest.moving import findings_of
    from loadtest.play import play

    plan = replace(space.planned(stage), warmup_s=stage.values[WARM_UP])
    return findings_of([await play(stage, plan)])


SCENARIO: Final = Scenario(
    name="many-rooms",
    summary="many small rooms: what an update costs where few go together",
    options=(
        replace(space.ROOMS, default=1_000),
        replace(space.MEMBERS, default=5),
        space.MOVERS,
        replace(space.RATE, default=0.5),
        replace(space.SECONDS, help="measured time"),
        WARM_UP,
        replace(space.CHATS, default=0.05),
        space.GENERATORS,
    ),
    run=_run,
    settings=space.settings_of,
)
