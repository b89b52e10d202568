"""Many say something in one room at the same moment: how long until everybody has everything."""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from common.arguments import count, positive
from loadtest.scenario import Figure, Findings, Option, Scenario, Stage, Values

if TYPE_CHECKING:
    from loadtest.follower import Company

MEMBERS: Final = Option("members", count, 500, "members of the room")
MESSAGES: Final = Option("messages", count, 100, "members who say something at that moment, one message each")
BURSTS: Final = Option("bursts", count, 5, "how often")
PAUSE: Final = Option("pause", positive, 3.0, "seconds between them")
PER_SECOND: Final = Option("per-second", positive, 300.0, "connections opened a second")

WAIT_S: Final = 30.0
"""What is not everywhere so long after it was said is missing."""


def _settings(values: Values) -> Mapping[str, str]:
    return {
        "ROOMRING_CONNECTS_PER_SECOND_MAX": f"{2 * values[PER_SECOND]:g}",
        "ROOMRING_CONNECTS_BURST": str(max(500, values[MEMBERS])),
    }


async def _run(stage: Stage) -> Findings:
    from loadtest.gathering import company_of, conclude, histogram_of, living, settled, times

    values = stage.values
    members, bursts = values[MEMBERS], values[BURSTS]
    messages = min(values[MESSAGES], members)
    company = company_of(stage, [members])
    findings = Findings()
    try:
        stage.progress(f"{members:,} people come in")
        await company.fetch_tokens()
        await company.enter(values[PER_SECOND])
        async with living(company):
            await settled(company, stage)
            ends: list[int] = []
            async with stage.window() as window:
                for number in range(bursts):
                    if not await stage.sleep_until(time.monotonic() + values[PAUSE]):
                        break
                    stage.progress(f"burst {number + 1} of {bursts}")
                    end_us, busy = await _burst(stage, company, number, messages)
                    ends.append(end_us)
                    findings.invalid += busy
            # While a burst is read timers wake late; `too_busy` judges that.
            window.judged, window.lag = False, company.lag
            window.work = company.sightings.latencies().whole().total
            window.work_unit = "delivery"
            verdict = conclude(stage, findings, company)
        said = [seen for seen in company.sightings.kept() if seen.message_id and seen.receivers == members]
        everywhere = histogram_of(seen.last_us - seen.intended_us for seen in said)
        all_of_it = histogram_of(ends)
        delivery = company.sightings.latencies().whole()
        findings.histograms = {"each delivery": delivery, "each message at everybody": everywhere}
        findings.figures = [
            *times("delivery", delivery),
            *times("message at everybody", everywhere),
            Figure("everything at everybody p50", all_of_it.percentile(50) / 1000, "ms", "lower"),
            Figure("everything at everybody max", all_of_it.max_us / 1000, "ms", "lower"),
            Figure("deliveries", float(delivery.total)),
            Figure("lost", float(verdict.lost + verdict.missing), "", "lower"),
        ]
        expected = len(ends) * messages * members
        if delivery.total != expected and not stage.interrupted.is_set():
            findings.failures.append(f"{delivery.total:,} messages delivered of {expected:,}")
    finally:
        await company.close()
    return findings


async def _burst(stage: Stage, company: "Company", number: int, messages: int) -> tuple[int, list[str]]:
    """Let some speak at once, others each time, and wait until everybody has it.

    Returns: microseconds until the last had the last, and why that may not hold.
    """
    from loadtest.gathering import too_busy, until

    followers = company.followers
    target = max(follower.following.seq for follower in followers) + messages
    cpu_s, intended_us = time.process_time(), company.now_us()
    for offset in range(number * messages, (number + 1) * messages):
        followers[offset % len(followers)].say(intended_us)
    await until(lambda: all(one.following.seq >= target and not one.unanswered for one in followers), WAIT_S, stage)
    busy = too_busy(time.process_time() - cpu_s, (company.now_us() - intended_us) / 1e6, f"of burst {number + 1}")
    end_us = max((seen.last_us for seen in company.sightings.kept() if seen.intended_us == intended_us), default=0)
    return end_us - intended_us, busy


SCENARIO: Final = Scenario(
    name="broadcast-burst",
    summary="many say something in one room at one moment: how long until everybody has everything",
    options=(MEMBERS, MESSAGES, BURSTS, PAUSE, PER_SECOND),
    run=_run,
    settings=_settings,
)
