"""Redis ends at once and comes back while people talk: how long until all rooms flow again, and what was lost."""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from common.arguments import count, positive
from loadtest.options import choice
from loadtest.scenario import CannotRun, Figure, Findings, Option, Scenario, Seconds, Stage, Table, Values

if TYPE_CHECKING:
    from loadtest.follower import Company

ROOMS: Final = Option("rooms", count, 20, "rooms")
MEMBERS: Final = Option("members", count, 10, "members of each room")
CHATS: Final = Option("chats", positive, 10.0, "messages a second in each room")
DATA: Final = Option("data", choice("lost", "kept"), "lost", "lost: Redis comes back empty; kept: with all that it had")
BEFORE: Final = Option("before", positive, 5.0, "seconds of talk before")
AFTER: Final = Option("after", positive, 10.0, "seconds of talk after all rooms flow again")
PER_SECOND: Final = Option("per-second", positive, 180.0, "connections opened a second")

WAIT_S: Final = 60.0


def _settings(_: Values) -> Mapping[str, str]:
    return {"ROOMRING_TOKEN_TTL_MS": "3600000"}


async def _run(stage: Stage) -> Findings:
    from loadtest.gathering import company_of, conclude, histogram_of, living, settled, times, until
    from loadtest.histogram import Histogram

    values = stage.values
    rooms, members, keeps = values[ROOMS], values[MEMBERS], values[DATA] == "kept"
    company = company_of(stage, [members] * rooms)
    findings = Findings()
    try:
        stage.progress(f"{rooms * members:,} people come in")
        await company.fetch_tokens()
        await company.enter(values[PER_SECOND])
        await settled(company, stage)
        followers = company.followers
        speakers = [follower for turn in range(members) for follower in followers[turn::members]]
        begin_us = company.now_us()
        async with living(company, company.talk(speakers, values[CHATS] * rooms)):
            stage.progress("people talk")
            await stage.sleep_until(time.monotonic() + values[BEFORE])
            company.on_lost = company.come_back
            async with stage.window("reset") as window:
                stage.progress("Redis is reset")
                if keeps:
                    await _save(stage.target.redis_url)
                reset_us = company.now_us()
                company.measure_from(reset_us)
                await stage.restart_redis()
                up_us = company.now_us()
                await until(lambda: all(follower.first_after_us for follower in followers), WAIT_S, stage)
            window.lag = company.lag
            stage.progress("people talk on")
            await stage.sleep_until(time.monotonic() + values[AFTER])
        async with living(company):
            await settled(company, stage)
            verdict = conclude(stage, findings, company, store_may_lose=not keeps, may_break=True)
        flowing = histogram_of(follower.first_after_us - reset_us for follower in followers if follower.first_after_us)
        before = company.sightings.latencies(begin_us, reset_us).whole()
        since = company.sightings.latencies(reset_us)
        of_room = _rooms_flow(company, reset_us)
        silent = rooms - len(of_room)
        if silent and not stage.interrupted.is_set():
            findings.failures.append(f"{silent:,} rooms were silent for {WAIT_S:.0f} s after the reset")
        findings.histograms = {
            "first event after the reset": flowing,
            "chat before": before,
            "chat from the reset on": since.whole(),
        }
        seconds = since.seconds()
        findings.seconds = [
            Seconds(
                "chat",
                company.start_s + reset_us / 1e6,
                [seconds.get(second, Histogram()) for second in range(max(seconds, default=-1) + 1)],
            )
        ]
        findings.figures = [
            Figure("Redis away", (up_us - reset_us) / 1000, "ms"),
            Figure("first event after", flowing.percentile(0) / 1000 if flowing.total else None, "ms", "lower"),
            Figure("half of the rooms flow", _at(of_room, 50), "ms", "lower"),
            Figure("all rooms flow", None if silent else _at(of_room, 100), "ms", "lower"),
            *times("chat before", before, (50, 99)),
            Figure("told resync", float(verdict.resyncs)),
            Figure("acknowledged and gone with the data", float(verdict.gone)),
            Figure("lost", float(verdict.lost + verdict.missing), "", "lower"),
            Figure("sent again", float(company.resent)),
        ]
        findings.tables.append(
            Table(
                "what clients were told",
                ("count",),
                [
                    *((f"resync {reason}", number) for reason, number in sorted(company.resyncs.items())),
                    *((code, number) for code, number in sorted(company.errors.items())),
                    *((f"closed with {code}", number) for code, number in sorted(company.closed.items())),
                ],
            )
        )
        findings.details["talked, s"] = (company.now_us() - begin_us) / 1e6
    finally:
        await company.close()
    return findings


async def _save(redis_url: str) -> None:
    """Let Redis write down all that it has, and take no writes until it is ended: nothing is lost with it.

    Raises:
        CannotRun: it does not do so.
    """
    from redis.asyncio import Redis
    from redis.exceptions import RedisError

    redis: Any = Redis.from_url(redis_url)
    try:
        await redis.execute_command("CLIENT", "PAUSE", "10000", "WRITE")
        await redis.execute_command("SAVE")
    except (RedisError, OSError) as error:
        raise CannotRun(f"Redis does not save its data: {error}") from error
    finally:
        await redis.aclose()


def _rooms_flow(company: "Company", reset_us: int) -> list[int]:
    """Return, for each room that flows again, when the last of its members received something, us after the reset."""
    of_room: dict[str, list[int]] = {}
    for follower in company.followers:
        of_room.setdefault(follower.room_id, []).append(follower.first_after_us)
    return sorted(max(first) - reset_us for first in of_room.values() if all(first))


def _at(times_us: list[int], percent: int) -> float | None:
    """Return the time at which so many of them were over, ms; None where there are none."""
    return times_us[-(-len(times_us) * percent // 100) - 1] / 1000 if times_us else None


SCENARIO: Final = Scenario(
    name="redis-reset",
    summary="Redis is restarted while people talk: how long until all rooms flow again, and what was lost",
    options=(ROOMS, MEMBERS, CHATS, DATA, BEFORE, AFTER, PER_SECOND),
    run=_run,
    settings=_settings,
    needs_own_cluster=True,
)
