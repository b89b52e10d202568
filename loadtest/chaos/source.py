"""Whether the code of the cluster changed while it ran: a process that starts again reads it anew."""

from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
PARTS: Final = ("common", "edge", "roomworker", "deploy")
SUFFIXES: Final = frozenset({".py", ".lua"})


def code_digest(root: Path = ROOT, parts: Sequence[str] = PARTS) -> str:
    """Return a number of all that edges and workers consist of: the same for the same code."""
    digest = blake2b(digest_size=16)
    files = [path for part in parts for path in (root / part).rglob("*") if path.suffix in SUFFIXES]
    for path in sorted(files):
        digest.update(f"{path.relative_to(root)}\n{path.stat().st_size}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()
