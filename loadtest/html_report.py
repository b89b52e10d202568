"""A result as one HTML file that needs nothing else: no script, no request, the plots within. No IO."""

from collections.abc import Sequence
from html import escape
from typing import Final

from loadtest.plots import plots_of
from loadtest.report import counters, options_line, redis_calls, show, tables, title
from loadtest.result import Result
from loadtest.scenario import Figure, Table

LONG_CELL: Final = 40
"""Characters from which the text of a cell is broken into lines."""

_CSS: Final = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0; background: #f4f6f9; color: #1d2630; font: 14px/1.45 system-ui, sans-serif; }
main { max-width: 1340px; margin: 0 auto; padding: 28px 24px 48px; }
h1 { font-size: 22px; margin: 0 0 4px; }
h2 { font-size: 15px; margin: 28px 0 10px; }
p { margin: 4px 0; }
.quiet { color: #56606b; }
code { font: 13px ui-monospace, monospace; }
.verdict { margin: 16px 0 4px; padding: 10px 14px; border-radius: 6px; border-left: 5px solid; font-weight: 600; }
.passed { background: #e6f4e8; border-color: #3d8a4b; }
.invalid { background: #fdf3da; border-color: #c98a00; }
.failed { background: #fbe6e6; border-color: #b3282d; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(560px, 1fr)); gap: 14px; }
.tables { display: flex; flex-wrap: wrap; gap: 14px; align-items: flex-start; }
.figures { display: grid; grid-template-columns: repeat(auto-fill, minmax(175px, 1fr)); gap: 10px; }
.figures .card { padding: 8px 12px; display: flex; flex-direction: column; justify-content: space-between; }
.figures b { font-size: 19px; font-variant-numeric: tabular-nums; }
.card { background: #fff; border: 1px solid #dde3ea; border-radius: 6px; padding: 12px 14px; overflow-x: auto; }
.card svg { display: block; width: 100%; height: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 4px 0 4px 18px; text-align: right; white-space: nowrap; border-bottom: 1px solid #edf0f4; }
th { font-weight: 600; color: #56606b; vertical-align: bottom; white-space: normal; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
th:first-child { color: #1d2630; }
td.long { white-space: normal; text-align: left; min-width: 260px; }
tr:last-child td { border-bottom: 0; }
summary { cursor: pointer; font-weight: 600; margin: 22px 0 10px; }
"""


def render_html(result: Result) -> str:
    """Return the report as the text of an HTML file."""
    state = "failed" if result.failures() else "invalid" if result.invalid() else "passed"
    host = ", ".join(f"{name} {value}" for name, value in result.host.items())
    where = ", ".join(result.urls) if result.workers is None else "a cluster of its own on this machine"
    remarks = "".join(f"<p>{escape(remark)}</p>" for remark in result.remarks())
    more = [table for table in (redis_calls(result.windows), counters(result.windows)) if table.rows]
    parts = [
        f"<h1>{escape(title(result))}</h1>",
        f'<p class="quiet">{escape(_sentence(result.summary))}</p>',
        f'<div class="verdict {state}">{escape(result.verdict())}</div>',
        f"<p><code>{escape(options_line(result))}</code></p>",
        f'<p class="quiet">{escape(result.started_at)}, {result.seconds:.0f} s, against {escape(where)}; '
        f"{escape(host)}</p>",
        f"<h2>Remarks</h2>{remarks}" if remarks else "",
        *_cards("Figures", "figures", [_figure(figure) for figure in result.findings.figures]),
        *_cards("Plots", "plots", plots_of(result)),
        *_cards("Tables", "tables", [_table(table) for table in tables(result)]),
        *_details("All that Redis and the servers counted in the windows", [_table(table) for table in more]),
    ]
    body = "\n".join(part for part in parts if part)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title(result))}</title>\n<style>{_CSS}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _cards(heading: str, kind: str, contents: Sequence[str]) -> list[str]:
    if not contents:
        return []
    cards = "\n".join(f'<div class="card">{content}</div>' for content in contents)
    return [f'<h2>{escape(heading)}</h2>\n<div class="{kind}">\n{cards}\n</div>']


def _figure(figure: Figure) -> str:
    unit = f" {escape(figure.unit)}" if figure.unit else ""
    return f'<div class="quiet">{escape(figure.name)}</div><div><b>{escape(show(figure.value))}</b>{unit}</div>'


def _details(heading: str, contents: Sequence[str]) -> list[str]:
    if not contents:
        return []
    cards = "\n".join(f'<div class="card">{content}</div>' for content in contents)
    return [f'<details><summary>{escape(heading)}</summary>\n<div class="tables">\n{cards}\n</div></details>']


def _table(table: Table) -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in (table.title, *table.columns))
    width = 1 + len(table.columns)
    rows = []
    for row in table.rows:
        cells = [_cell(show(cell)) for cell in row] + ["<td></td>"] * (width - len(row))
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _cell(text: str) -> str:
    kind = ' class="long"' if len(text) > LONG_CELL else ""
    return f"<td{kind}>{escape(text)}</td>"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}." if text else ""
