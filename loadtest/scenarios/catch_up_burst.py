"""Many lose their connection, much happens meanwhile, and all resume at once: how long until each has all of it."""

import asyncio
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from common.arguments import count, positive
from loadtest.scenario import Figure, Findings, Option, Scenario, Stage, Values

if TYPE_CHECKING:
    from loadtest.follower import Company, Follower

CLIENTS: Final = Option("clients", count, 500, "clients that leave abruptly and resume")
EVENTS: Final = Option("events", count, 200, "events that each of them misses")
ROOMS: Final = Option("rooms", count, 1, "rooms that they are spread over")
PER_SECOND: Final = Option("per-second", positive, 300.0, "connections opened a second")

EACH_AT_ONCE: Final = 8
"""Chat messages, and as many emotes, that one speaker sends: below the burst that a person may send at once (10)."""

WAIT_S: Final = 60.0
_WINDOW_MS: Final = 120_000


def speakers_needed(events: int) -> int:
    """Return how many must speak so that a room gets so many events at once."""
    return -(-events // (2 * EACH_AT_ONCE))


def _settings(values: Values) -> Mapping[str, str]:
    return {
        "ROOMRING_CONNECTS_PER_SECOND_MAX": f"{2 * values[PER_SECOND]:g}",
        "ROOMRING_CONNECTS_BURST": str(max(500, values[CLIENTS])),
        # Nobody is told of leaves meanwhile: what is missed is what was said.
        "ROOMRING_RECONNECT_WINDOW_MS": str(_WINDOW_MS),
        # All are connected before the first joins.
        "ROOMRING_AUTH_TIMEOUT_MS": str(_WINDOW_MS),
        "ROOMRING_HISTORY_EVENTS_MAX": str(max(1000, 2 * values[EVENTS])),
    }


async def _run(stage: Stage) -> Findings:
    from loadtest.gathering import company_of, conclude, histogram_of, living, settled, times, too_busy, until

    values = stage.values
    clients, events, rooms = values[CLIENTS], values[EVENTS], min(values[ROOMS], values[CLIENTS])
    speakers = speakers_needed(events)
    company = company_of(stage, [clients // rooms + (room < clients % rooms) + speakers for room in range(rooms)])
    findings = Findings()
    try:
        stage.progress(f"{len(company.followers):,} people come in")
        await company.fetch_tokens()
        await company.enter(values[PER_SECOND])
        async with living(company):
            await settled(company, stage)
            staying, leaving = _parted(company, speakers)
            for follower in leaving:
                follower.cut()
            stage.progress(f"{events:,} events in each room")
            for of_room in staying.values():
                _speak(company, of_room, events)
            everybody_stays = [follower for of_room in staying.values() for follower in of_room]
            await until(lambda: not any(follower.unanswered for follower in everybody_stays), WAIT_S, stage)
            stage.progress(f"{clients:,} come back")
            await _open(leaving, values[PER_SECOND])
            ends = {room_id: record.end[1] for room_id, record in company.records.items()}
            missed = [ends[follower.room_id] - follower.following.seq for follower in leaving]
            async with stage.window() as window:
                # All at the same moment: how long the last of them waits is part of it.
                cpu_s, begin_us = time.process_time(), company.now_us()
                for follower in leaving:
                    follower.join()
                company.lag.record(company.now_us() - begin_us)
                await until(lambda: all(follower.back_us for follower in leaving), WAIT_S, stage)
                cpu_s, end_us = time.process_time() - cpu_s, max(follower.back_us for follower in leaving)
            # While a replay is read timers wake late; `too_busy` judges that.
            window.judged, window.lag = False, company.lag
            window.work = sum(follower.following.replayed for follower in leaving)
            window.work_unit = "replayed event"
            await settled(company, stage)
            verdict = conclude(stage, findings, company, may_break=True)
        replay = histogram_of(follower.back_us - begin_us for follower in leaving if follower.back_us)
        wrong = sum(one.following.replayed != count for one, count in zip(leaving, missed, strict=True))
        if wrong and not stage.interrupted.is_set():
            findings.failures.append(f"{wrong:,} clients did not get exactly what they missed")
        findings.invalid += too_busy(cpu_s, (end_us - begin_us) / 1e6, "of the replay")
        findings.histograms = {"replay": replay}
        findings.figures = [
            *times("replay", replay, (50, 95)),
            Figure("replayed events", float(verdict.replayed)),
            Figure("replayed a second", verdict.replayed * 1e6 / max(1, end_us - begin_us), "1/s", "higher"),
            Figure("not recovered", float(verdict.not_recovered), "", "lower"),
            Figure("lost", float(verdict.lost + verdict.missing), "", "lower"),
            Figure("twice", float(verdict.duplicates), "", "lower"),
        ]
    finally:
        await company.close()
    return findings


def _parted(company: "Company", speakers: int) -> tuple[dict[str, list["Follower"]], list["Follower"]]:
    """Return who stays and speaks, by room, and who leaves."""
    staying: dict[str, list[Follower]] = {}
    leaving: list[Follower] = []
    for follower in company.followers:
        of_room = staying.setdefault(follower.room_id, [])
        (of_room if len(of_room) < speakers else leaving).append(follower)
    return staying, leaving


def _speak(company: "Company", speakers: "list[Follower]", events: int) -> None:
    """Let so many events happen in a room, chat and emotes by turns, from everybody by turns."""
    intended_us = company.now_us()
    for number in range(events):
        speaker = speakers[number // 2 % len(speakers)]
        if number % 2:
            speaker.emote(intended_us)
        else:
            speaker.say(intended_us)


async def _open(followers: "list[Follower]", per_second: float) -> None:
    """Connect these again, so many a second, without a join."""
    from loadtest.light_socket import Refused, Unreachable
    from loadtest.scenario import CannotRun

    begin_s = time.monotonic()
    try:
        async with asyncio.TaskGroup() as group:
            for number, follower in enumerate(followers):
                await asyncio.sleep(max(0.0, begin_s + number / per_second - time.monotonic()))
                group.create_task(follower.open())
    except* (Refused, Unreachable) as failures:
        raise CannotRun(f"not everybody can come back: {failures.exceptions[0]}") from failures


SCENARIO: Final = Scenario(
    name="catch-up-burst",
    summary="many resume at once, each with many missed events: how long until each has them",
    options=(CLIENTS, EVENTS, ROOMS, PER_SECOND),
    run=_run,
    settings=_settings,
)
