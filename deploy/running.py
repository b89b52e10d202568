"""What a `roomring up` that runs from a folder tells other commands: where its Redis and its database are."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

DATA_DIR: Final = ".roomring"
"""Where commands look that have no option for it."""


def described(data_dir: Path) -> Mapping[str, Any] | None:
    """Return what the cluster that runs from a folder says of itself; None where none does."""
    try:
        cluster: Mapping[str, Any] = json.loads((data_dir / "cluster.json").read_text())
        os.kill(cluster["pid"], 0)
        # Asked here, so that nobody has to doubt the form of it.
        _ = cluster["redis"]["url"], cluster["database"]["url"], cluster["archives"]
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return None
    return cluster


def with_database(environ: Mapping[str, str], data_dir: Path) -> dict[str, str]:
    """Return the settings to use: where they name no database, that of a `roomring up` that runs from a folder."""
    cluster = None if environ.get("ROOMRING_DATABASE_URL", "").strip() else described(data_dir)
    if cluster is None:
        return dict(environ)
    return {
        **environ,
        "ROOMRING_DATABASE_URL": cluster["database"]["url"],
        "ROOMRING_ARCHIVE_DIR": cluster["archives"],
    }
