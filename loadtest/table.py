"""Aligned plain-text tables. No IO."""

from collections.abc import Sequence


def render_table(rows: Sequence[Sequence[str]], *, indent: int = 2) -> list[str]:
    """Return the lines of a table: the first column to the left, the others to the right, two spaces between them.

    Rows may have different lengths; no line ends with spaces.
    """
    columns = max((len(row) for row in rows), default=0)
    widths = [max((len(row[column]) for row in rows if column < len(row)), default=0) for column in range(columns)]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=False))
        ]
        lines.append((" " * indent + "  ".join(cells)).rstrip())
    return lines
