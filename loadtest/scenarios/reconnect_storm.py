"""All connections are lost at the same moment, and all come back as good clients do, while people talk on."""

import asyncio
import os
import signal
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from common.arguments import count, positive
from loadtest.options import choice
from loadtest.scenario import CannotRun, Figure, Findings, Option, Scenario, Stage, Table, Values

if TYPE_CHECKING:
    from loadtest.follower import Company, Follower
    from loadtest.following import Verdict

CLIENTS: Final = Option("clients", count, 1000, "clients whose connections are lost")
ROOMS: Final = Option("rooms", count, 20, "rooms that they are spread over")
CAUSE: Final = Option(
    "cause",
    choice("cut", "edge"),
    "cut",
    "cut: the connections of all these break; edge: SIGKILL of an edge of an own cluster",
)
CHATS: Final = Option("chats", positive, 2.0, "messages a second in each room, all the time")
PER_SECOND: Final = Option("per-second", positive, 180.0, "connections opened a second before the storm")

SPEAKERS: Final = 2
"""In each room: they speak by turns, and keep their connections where these are cut by us."""

CUTS_AT_ONCE: Final = 20
"""A socket takes about 0.1 ms to end."""

BEFORE_S: Final = 2.0
AFTER_S: Final = 2.0
WAIT_S: Final = 120.0


def _settings(values: Values) -> Mapping[str, str]:
    # Apart from that the admission is as it is for everybody: it is a part of what is measured.
    return {"ROOMRING_TOKEN_TTL_MS": "3600000"}


async def _run(stage: Stage) -> Findings:
    from loadtest.gathering import company_of, conclude, living, settled, too_busy, until

    values = stage.values
    clients, rooms = values[CLIENTS], min(values[ROOMS], values[CLIENTS])
    if values[CAUSE] == "edge" and not (stage.target.is_own and len(stage.target.urls) > 1):
        raise CannotRun("cause=edge kills an edge; run it without --against, and with at least two edges")
    company = company_of(stage, [clients // rooms + (room < clients % rooms) + SPEAKERS for room in range(rooms)])
    findings = Findings()
    lost: list[Follower] = []
    try:
        stage.progress(f"{len(company.followers):,} people come in")
        await company.fetch_tokens()
        await company.enter(values[PER_SECOND])
        await settled(company, stage)
        speakers, others = _parted(company)
        talk = company.talk(speakers, values[CHATS] * rooms)
        async with living(company, talk):
            await stage.sleep_until(time.monotonic() + BEFORE_S)
            async with stage.window("storm") as window:
                cpu_s = time.process_time()
                begin_us = company.now_us()

                def on_lost(follower: "Follower") -> None:
                    lost.append(follower)
                    if values[CAUSE] == "edge":
                        # As a load balancer would: to another one than that which went.
                        follower.edge = (follower.edge + 1) % len(company.urls)
                    company.come_back(follower)

                company.on_lost = on_lost
                if values[CAUSE] == "edge":
                    os.kill(stage.target.pids()["edge"][0], signal.SIGKILL)
                    await until(lambda: bool(lost), WAIT_S, stage)
                else:
                    for number, follower in enumerate(others):
                        follower.cut()
                        on_lost(follower)
                        if number % CUTS_AT_ONCE == 0:
                            # The speakers go on meanwhile.
                            await asyncio.sleep(0)
                await until(lambda: _is_back(stage, company, lost), WAIT_S, stage)
                end_us, cpu_s = company.now_us(), time.process_time() - cpu_s
            # While a crowd connects timers wake late; `too_busy` judges that.
            window.judged, window.lag = False, company.lag
            window.work, window.work_unit = len(lost), "client that came back"
            await stage.sleep_until(time.monotonic() + AFTER_S)
        async with living(company):
            await settled(company, stage)
            verdict = conclude(stage, findings, company, may_break=True)
        _tell(findings, company, lost, begin_us, verdict)
        findings.invalid += too_busy(cpu_s, (end_us - begin_us) / 1e6, "of the storm")
        if len(lost) < (1 if values[CAUSE] == "edge" else clients):
            findings.invalid.append(f"only {len(lost):,} connections were lost")
    finally:
        await company.close()
    return findings


def _tell(findings: Findings, company: "Company", lost: "list[Follower]", begin_us: int, verdict: "Verdict") -> None:
    from loadtest.gathering import histogram_of, times

    back = histogram_of(follower.back_us - follower.lost_us for follower in lost if follower.back_us)
    chat = company.sightings.latencies(begin_us).whole()
    findings.histograms = {"back": back, "chat meanwhile": chat}
    findings.figures = [
        *times("back", back, (50, 95)),
        Figure("clients lost", float(len(lost))),
        Figure("recovered", float(len(lost) - verdict.not_recovered), "", "higher"),
        Figure("refused by admission", float(sum(company.refused.values())), "", "lower"),
        *times("chat meanwhile", chat, (50, 99)),
        Figure("lost", float(verdict.lost + verdict.missing), "", "lower"),
        Figure("twice", float(verdict.duplicates + verdict.doubled), "", "lower"),
    ]
    findings.tables.append(
        Table(
            "attempts to come back",
            ("count",),
            [
                *((f"refused with {status}", number) for status, number in sorted(company.refused.items())),
                ("without an answer", company.failed_attempts),
                ("messages sent again", company.resent),
            ],
        )
    )


def _parted(company: "Company") -> "tuple[list[Follower], list[Follower]]":
    """Return who speaks, the rooms by turns, and all others."""
    of_room: dict[str, int] = {}
    speakers: list[tuple[int, Follower]] = []
    others: list[Follower] = []
    for follower in company.followers:
        number = of_room.setdefault(follower.room_id, 0)
        of_room[follower.room_id] += 1
        if number < SPEAKERS:
            speakers.append((number, follower))
        else:
            others.append(follower)
    speakers.sort(key=lambda one: one[0])
    return [follower for _, follower in speakers], others


def _is_back(stage: Stage, company: "Company", lost: "list[Follower]") -> bool:
    back = sum(follower.is_joined for follower in lost)
    stage.progress(f"{back:,} of {len(lost):,} are back")
    return all(follower.is_joined and follower.back_us for follower in company.followers)


SCENARIO: Final = Scenario(
    name="reconnect-storm",
    summary="all connections are lost at once and come back with a resume: how long until all are back",
    options=(CLIENTS, ROOMS, CAUSE, CHATS, PER_SECOND),
    run=_run,
    settings=_settings,
)
