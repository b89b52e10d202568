"""Rows as text, for the commands that list things."""

from collections.abc import Sequence
from typing import Any


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Lay out rows below the names of their columns; numbers to the right. The last column is not padded."""
    texts = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(columns, *texts, strict=True)]
    right = [bool(rows) and all(isinstance(row[number], int) for row in rows) for number in range(len(columns))]
    lines = []
    for row in ([*columns], *texts):
        cells = [
            cell.rjust(width) if at_right else cell.ljust(width)
            for cell, width, at_right in zip(row, widths, right, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
