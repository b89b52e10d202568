"""`roomring edge` and `roomring worker`: read the settings, look at the ports, and run the process."""

import argparse
import resource
from dataclasses import replace
from typing import Final

from common.log import configure
from common.settings import EdgeSettings, WorkerSettings, load
from deploy.ports import PortUse, check_ports

FILES_BESIDE_CONNECTIONS: Final = 200
"""Connections to Redis, listeners, log files."""


def run_edge(args: argparse.Namespace) -> int:
    """Run one edge, or several that share a port, until told to stop. See `roomring edge --help`."""
    settings = load(
        EdgeSettings,
        host=args.host,
        port=args.port,
        internal_port=args.internal_port,
        processes=args.processes,
        dev=args.dev or None,
    )
    check_ports(
        [
            PortUse(settings.host, settings.port, "public listener", "set ROOMRING_PORT"),
            *(
                PortUse(settings.internal_host, port, "internal listener", "set ROOMRING_INTERNAL_PORT")
                for port in settings.internal_ports
            ),
        ]
    )
    raise_open_files(settings.connections_max + FILES_BESIDE_CONNECTIONS)
    # Before the processes part, so that they have it in common.
    from edge.main import run

    if settings.processes == 1:
        return run(settings)
    from deploy.siblings import Siblings

    configure(settings.log_format, settings.log_level, role="edge", node="parent")
    ports = settings.internal_ports
    return Siblings(settings.processes, lambda number: run(replace(settings, internal_port=ports[number]))).run()


def run_worker(args: argparse.Namespace) -> int:
    """Run one room worker until it is told to stop. See `roomring worker --help`."""
    settings = load(WorkerSettings, internal_port=args.internal_port, dev=args.dev or None)
    if settings.internal_port:
        check_ports([PortUse(settings.internal_host, settings.internal_port, "listener", "set ROOMRING_INTERNAL_PORT")])
    from roomworker.main import run

    return run(settings)


def raise_open_files(wanted: int) -> None:
    """Let this process open so many files, as far as the system allows it; many shells begin with 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if allowed > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
