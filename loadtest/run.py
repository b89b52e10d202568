"""`roomring loadtest run`: runs one scenario against servers, and writes what it found.

`measure` is all of it but the writing, for programs that run scenarios in turn. Starting a cluster is the caller's
part.
"""

import asyncio
import json
import os
import platform
import signal
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Final

import uvloop

from loadtest.progress import Progress
from loadtest.report import render
from loadtest.result import Result
from loadtest.scenario import CannotRun, Findings, Scenario, Target, Values
from loadtest.stage import RunStage

EXIT_PASSED: Final = 0
EXIT_FAILED: Final = 1
EXIT_INTERRUPTED: Final = 130

_LIBRARIES: Final = ("aiohttp", "numpy", "uvloop")
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


def run(
    scenario: Scenario,
    values: Values,
    target: Target,
    *,
    workers: int | None = None,
    report_folder: Path | None = None,
    json_file: Path | None = None,
) -> int:
    """Run a scenario, print its report, and write the files. Must be called in the main thread.

    Args:
        workers: of the cluster, where it is ours.
        report_folder: gets result.json and report.html; is made where it is missing.
        json_file: gets the same as result.json.

    Returns: exit status: 0 when it passed, 130 when it was interrupted, else 1.

    Raises:
        CannotRun: there was nothing to measure.
        OSError: a file cannot be written.
    """
    if report_folder is not None:
        # Before the run, since nobody wants to learn after it that there is no room for its result.
        report_folder.mkdir(parents=True, exist_ok=True)
    result = uvloop.run(measure(scenario, values, target, workers=workers))
    text = json.dumps(result.to_json(), indent=1) + "\n"
    if json_file is not None:
        json_file.write_text(text)
    if report_folder is not None:
        from loadtest.html_report import render_html

        (report_folder / "result.json").write_text(text)
        (report_folder / "report.html").write_text(render_html(result))
    sys.stdout.write(render(result, colours=sys.stdout.isatty()))
    if result.interrupted:
        return EXIT_INTERRUPTED
    return EXIT_PASSED if result.passed else EXIT_FAILED


async def measure(scenario: Scenario, values: Values, target: Target, *, workers: int | None = None) -> Result:
    """Run a scenario, and measure around it.

    The first Ctrl-C (or SIGTERM) asks the scenario to end in order, the second cancels it; the result says either.

    Raises:
        CannotRun: there was nothing to measure.
    """
    started_at = datetime.now(UTC).isoformat(timespec="seconds")
    findings = Findings()
    async with RunStage(target, values, Progress(sys.stderr, scenario.name)) as stage:
        scenario_task = asyncio.ensure_future(scenario.run(stage))
        loop = asyncio.get_running_loop()

        def on_signal() -> None:
            if stage.interrupted.is_set():
                scenario_task.cancel()
            stage.interrupted.set()
            stage.progress("ending; Ctrl-C again to end at once")

        for number in _SIGNALS:
            loop.add_signal_handler(number, on_signal)
        try:
            findings = await scenario_task
        except asyncio.CancelledError:
            if not stage.interrupted.is_set():
                raise
        except CannotRun:
            if not stage.interrupted.is_set():
                raise
        finally:
            for number in _SIGNALS:
                loop.remove_signal_handler(number)
        return Result(
            scenario=scenario.name,
            summary=scenario.summary,
            label=target.label,
            dialect=target.dialect,
            values=values.as_dict(),
            urls=target.urls,
            edges=len(target.urls),
            workers=workers,
            host=host_facts(),
            started_at=started_at,
            begin_s=stage.begin_s,
            seconds=time.monotonic() - stage.begin_s,
            findings=findings,
            windows=stage.windows,
            traces=stage.traces,
            interrupted=stage.interrupted.is_set(),
        )


def host_facts() -> Mapping[str, object]:
    """Return the facts of this machine that bear on the numbers, without its name."""
    return {
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        **{name: metadata.version(name) for name in _LIBRARIES},
    }
