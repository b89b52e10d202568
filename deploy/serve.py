"""`roomring edge` and `roomring worker`: read the settings, look at the ports, and run the process."""

import argparse

from common.settings import EdgeSettings, WorkerSettings, load
from deploy.ports import PortUse, check_ports


def run_edge(args: argparse.Namespace) -> int:
    """Run one edge until it is told to stop. See `roomring edge --help`."""
    settings = load(
        EdgeSettings, host=args.host, port=args.port, internal_port=args.internal_port, dev=args.dev or None
    )
    check_ports(
        [
            PortUse(settings.host, settings.port, "public listener", "set ROOMRING_PORT"),
            PortUse(
                settings.internal_host,
                settings.internal_port_or_default,
                "internal listener",
                "set ROOMRING_INTERNAL_PORT",
            ),
        ]
    )
    from edge.main import run

    return run(settings)


def run_worker(args: argparse.Namespace) -> int:
    """Run one room worker until it is told to stop. See `roomring worker --help`."""
    settings = load(WorkerSettings, internal_port=args.internal_port, dev=args.dev or None)
    if settings.internal_port:
        check_ports([PortUse(settings.internal_host, settings.internal_port, "listener", "set ROOMRING_INTERNAL_PORT")])
    from roomworker.main import run

    return run(settings)
