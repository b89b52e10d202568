"""`roomring loadtest`: lists scenarios, runs one on a cluster of its own or on one that runs, compares results."""

import argparse
import contextlib
import os
import pkgutil
import sys
import time
from collections.abc import Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import loadtest.dialects
from common.errors import SettingsError
from loadtest.scenario import Scenario, Target, Values, load, load_all, parse_values

if TYPE_CHECKING:
    from deploy.devcluster import DevCluster

_RESTART_S: Final = 10.0


def run(args: argparse.Namespace) -> int:
    """Do one of the actions. See `roomring loadtest --help`.

    Raises:
        SettingsError: there is no such scenario, option or file.
        RoomringError: the cluster did not come up, or nobody could join.
    """
    match args.action:
        case "list":
            print(list_scenarios([load(name) for name in args.scenario] or load_all()))  # noqa: T201 - what was asked
            return 0
        case "compare":
            return _compare(args)
        case "capacity":
            return _tell_capacity(args)
        case _:
            return _run_scenario(args)


def list_scenarios(scenarios: list[Scenario]) -> str:
    """Return the scenarios with their options and defaults, as text."""
    blocks = []
    for scenario in scenarios:
        settings = [f"{option.name}={_plain(option.default)}" for option in scenario.options]
        width = max((len(setting) for setting in settings), default=0)
        lines = [
            f"  {setting:<{width}}  {option.help}" for setting, option in zip(settings, scenario.options, strict=True)
        ]
        needs = "; needs a cluster of its own" if scenario.needs_own_cluster else ""
        blocks.append("\n".join([f"{scenario.name}: {scenario.summary}{needs}", *lines]))
    return "\n\n".join(blocks)


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _compare(args: argparse.Namespace) -> int:
    from loadtest.compare import load_results
    from loadtest.compare import run as compare

    paths = [Path(name) for name in args.results]
    if not args.by:
        if args.plot:
            raise SettingsError("--plot needs --by; for example --by members --plot members.svg")
        return compare(paths)
    from loadtest.trend import points_of, render_trend

    points = points_of([result for path in paths for result in load_results(path)], args.by)
    sys.stdout.write(render_trend(points, args.by))
    if args.plot:
        _import_packages("loadtest.plots")
        from loadtest.plots import plot_trend

        _write(Path(args.plot), plot_trend(points, args.by, f"CPU and latency by {args.by}"))
    return 0


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text)
    except OSError as error:
        raise SettingsError(f"{path} cannot be written: {error.strerror}") from error


def _tell_capacity(args: argparse.Namespace) -> int:
    _import_packages("loadtest.capacity")
    from loadtest.capacity import MEASURED, Load, fit
    from loadtest.capacity_text import render_answer, render_fit
    from loadtest.compare import load_results

    costs = MEASURED
    if args.results:
        results = [result for name in args.results for result in load_results(Path(name))]
        costs = fit(results)
        sys.stdout.write(render_fit(results, costs))
    load = Load(args.rooms, args.members, args.rate, args.edges, args.workers, args.gather_ms_max)
    sys.stdout.write(render_answer(load, costs))
    return 0


def _run_scenario(args: argparse.Namespace) -> int:
    scenario = load(args.scenario)
    settings = [*([] if args.seconds is None else [f"seconds={args.seconds}"]), *args.settings]
    values = parse_values(scenario, settings)
    if args.against and (args.edges or args.workers):
        raise SettingsError("--edges and --workers are those of an own cluster; leave them or --against out")
    if args.against and scenario.needs_own_cluster:
        raise SettingsError(f"the scenario {scenario.name} breaks things; run it without --against")
    if args.json and not Path(args.json).absolute().parent.is_dir():
        raise SettingsError(f"--json {args.json}: there is no folder {Path(args.json).parent}")
    _check_dialect(args.dialect, own_cluster=not args.against)
    # Before the cluster starts.
    _import_packages("loadtest.run", "loadtest.play", *(["loadtest.plots"] if args.report else []))
    from deploy.devcluster import DevCluster
    from loadtest.progress import Progress
    from loadtest.run import run as run_scenario

    run_it = partial(
        run_scenario,
        scenario,
        values,
        report_folder=Path(args.report) if args.report else None,
        json_file=Path(args.json) if args.json else None,
    )
    if args.against:
        return run_it(Target(urls=tuple(args.against), dialect=args.dialect, label=args.label or args.dialect))
    workers = args.workers or scenario.workers
    edges = args.edges or scenario.edges
    progress = Progress(sys.stderr, scenario.name)
    progress.show("starting a cluster")
    with contextlib.ExitStack() as stack:
        stack.callback(progress.clear)
        settings_of_it = _settings(scenario, values)
        cluster = stack.enter_context(DevCluster(edges=edges, workers=workers, environ=settings_of_it, restart=False))
        progress.clear()
        return run_it(target_of(cluster, label=args.label or "roomring"), workers=workers)


def _import_packages(*modules: str) -> None:
    """Import modules that need more packages than the servers do, so that a missing one is told at once."""
    try:
        for module in modules:
            import_module(module)
    except ModuleNotFoundError as error:
        raise SettingsError(f'load tests need {error.name}, too: pip install "roomring[loadtest]"') from error


def _check_dialect(name: str, *, own_cluster: bool) -> None:
    known = dialects()
    if name not in known:
        raise SettingsError(f"there is no dialect {name!r}; it is one of {', '.join(known)}")
    if own_cluster and name != "roomring":
        raise SettingsError(f"a cluster of our own does not speak {name}; name its servers with --against")


def dialects() -> list[str]:
    """Return the names of the dialects that there are."""
    return sorted(module.name for module in pkgutil.iter_modules(loadtest.dialects.__path__))


def _settings(scenario: Scenario, values: Values) -> Mapping[str, str]:
    # The settings of the environment count, as for `roomring up`, but never the Redis or database of a real cluster.
    settings = {name: value for name, value in os.environ.items() if name.startswith("ROOMRING_")}
    settings.pop("ROOMRING_REDIS_URL", None)
    settings.pop("ROOMRING_DATABASE_URL", None)
    return {**scenario.settings(values), **settings}


def target_of(cluster: "DevCluster", *, label: str) -> Target:
    """Return a running cluster as what a load test may measure, and break."""
    pages = {process.name: process.internal_url for process in cluster.edges}
    pages |= {process.name: process.internal_url for process in cluster.workers}
    return Target(
        urls=tuple(edge.url for edge in cluster.edges),
        label=label,
        metrics_urls={name: f"{internal_url}/metrics" for name, internal_url in pages.items()},
        internal_urls=tuple(edge.internal_url for edge in cluster.edges),
        admin_key=cluster.admin_key,
        redis_url=cluster.redis_url,
        pids=partial(pids_by_kind, cluster),
        restart_redis=partial(restart_redis, cluster),
    )


def pids_by_kind(cluster: "DevCluster") -> dict[str, list[int]]:
    """Return the process ids of a cluster by kind: `edge`, `worker`, `valkey`, `postgres`."""
    kinds: dict[str, list[int]] = {"edge": [], "worker": []}
    for name, pid in cluster.pids().items():
        kinds.setdefault(name.partition("-")[0], []).append(pid)
    return kinds


def restart_redis(cluster: "DevCluster") -> None:
    """Kill the cluster's Redis, start it again without its data, and return when it answers.

    Raises:
        StartFailed: it does not come back.
    """
    from deploy.devcluster import STORE_NAME

    cluster.kill(STORE_NAME)
    deadline_s = time.monotonic() + _RESTART_S
    while cluster.redis_pid is not None and time.monotonic() < deadline_s:
        time.sleep(0.001)
    cluster.start_again(STORE_NAME)
