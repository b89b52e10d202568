"""`roomring bench`: gives the bench a cluster of its own, where none is named, and the process ids to measure."""

import argparse
import os

from deploy.devcluster import DevCluster


def run(args: argparse.Namespace) -> int:
    """Measure. See `roomring bench --help`.

    Raises:
        RoomringError: the cluster did not come up.
    """
    # Imported before the cluster starts, so that a missing package is told at once.
    from loadtest.bench import run as measure

    if args.url:
        return measure(args)
    # The settings of the environment count, as for `roomring up`, but never the Redis or database of a real cluster.
    settings = {name: value for name, value in os.environ.items() if name.startswith("ROOMRING_")}
    settings.pop("ROOMRING_REDIS_URL", None)
    settings.pop("ROOMRING_DATABASE_URL", None)
    with DevCluster(edges=args.edges, workers=args.workers, environ=settings, restart=False) as cluster:
        args.url = [edge.url for edge in cluster.edges]
        args.pids = processes(cluster)
        return measure(args)


def processes(cluster: DevCluster) -> dict[str, list[int]]:
    """Return the process ids of a cluster by kind: `edge`, `worker`, `valkey`."""
    kinds: dict[str, list[int]] = {}
    for name, pid in cluster.pids().items():
        kinds.setdefault(name.partition("-")[0], []).append(pid)
    return kinds
