"""Writes what is made from the declarations: `python -m deploy.generate`, or `--check` to compare only.

Sources: common/messages.py, common/errors.py, common/settings.py, edge/openapi.py, the prose in
deploy/templates/protocol.md, and the wire samples in tests/golden, which the protocol page shows. The output
depends on nothing else, so tests/unit/test_generated.py can make it anew and compare.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from deploy.generators import openapi, protocol_page, schema, settings_page, typescript

ROOT: Final = Path(__file__).parent.parent


def generated(root: Path = ROOT) -> dict[str, str]:
    """Return the text of every generated file, by its path below the root."""
    template = (root / "deploy" / "templates" / "protocol.md").read_text(encoding="utf-8")
    return {
        "docs/protocol.md": protocol_page.render(template, page_samples(root)),
        "docs/schema/openapi.json": openapi.render_public(),
        "docs/schema/openapi-internal.json": openapi.render_internal(),
        "docs/schema/roomring.v1.json": schema.render(),
        "docs/settings.md": settings_page.render(),
        "web/roomring/messages.d.ts": typescript.render(),
    }


def page_samples(root: Path = ROOT) -> dict[str, Any]:
    """Return the wire sample of each event that the page shows: `<direction>.<event>.json` without a variant."""
    samples = {}
    for path in sorted((root / "tests" / "golden").glob("*.json")):
        direction, event, *variant = path.stem.split(".")
        if direction in ("client", "server") and not variant:
            samples[event] = json.loads(path.read_text(encoding="utf-8"))
    return samples


def main(argv: Sequence[str] | None = None) -> int:
    """Write the files. With `--check` write nothing, and return 1 if one of them differs."""
    parser = argparse.ArgumentParser(prog="python -m deploy.generate", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit status 1 if a file is not current")
    args = parser.parse_args(argv)
    stale = []
    for name, text in generated().items():
        path = ROOT / name
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(name)
        if not args.check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    for name in stale:
        print(f"{'not current' if args.check else 'written'}: {name}")  # noqa: T201 - the command's own output
    return 1 if stale and args.check else 0


if __name__ == "__main__":
    sys.exit(main())
