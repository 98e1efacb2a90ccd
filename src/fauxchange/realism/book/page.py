"""The report of a book as one HTML page that needs nothing else. Everything that comes from outside is escaped."""

import math
from collections.abc import Iterable
from html import escape

from fauxchange import __version__
from fauxchange.realism.book.plots import pictures_of
from fauxchange.realism.book.report import LIMITS, BookRow, BookSimilarity, LawRow
from fauxchange.realism.book.targets import Range
from fauxchange.realism.report.page import STYLE, figure
from fauxchange.realism.report.words import number, percent

MARKS = {"inside": "✓", "below": "▼", "above": "▲", "told": "·", "unknown": "?"}
"""What stands beside a word, so that nothing is told by colour alone."""


def page(similarity: BookSimilarity) -> str:
    """Return the whole page."""
    name = escape(similarity.name)
    return "".join(
        [
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8"/>\n',
            '<meta name="viewport" content="width=device-width, initial-scale=1"/>\n',
            f"<title>Order book report: {name}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n",
            f"<header>\n<h1>How alike simulated and real order books are: {name}</h1>\n",
            f'<p class="soft">Order book report by Fauxchange {__version__}</p>\n</header>\n',
            section(similarity),
            "</body>\n</html>\n",
        ]
    )


def section(similarity: BookSimilarity) -> str:
    """Return the report of a book as a part of a page."""
    alike = similarity.judged and similarity.passed == len(similarity.judged)
    scores = [
        (f"{similarity.passed} of {len(similarity.judged)}", "statistics inside"),
        (str(similarity.windows), "windows of six minutes"),
        *((number(law.value), law.title) for law in similarity.laws),
    ]
    told = "".join(f"<div><b>{escape(value)}</b>{escape(title)}</div>" for value, title in scores)
    pictures = pictures_of(similarity.curves, similarity.against.curves, similarity.impact)
    origin = "".join(f"<dt>{escape(key)}</dt><dd>{escape(value)}</dd>" for key, value in similarity.origin.items())
    return "".join(
        [
            f'<div class="verdict {"alike" if alike else ""}">\n<p>{escape(similarity.verdict)}</p>\n',
            f'<div class="scores">{told}</div></div>\n',
            "<h3>Statistics</h3>\n",
            _statistics(similarity),
            "" if not similarity.laws else "<h3>What a user's order does</h3>\n" + _laws(similarity.laws),
            *(figure(picture) for picture in pictures),
            f"<h3>How to read this</h3>\n<p>{escape(LIMITS)}</p>\n<dl>{origin}</dl>\n",
        ]
    )


def _statistics(similarity: BookSimilarity) -> str:
    names = list(similarity.against.values)
    rows = []
    for row in similarity.rows:
        recorded = "".join(f'<td class="n soft">{number(row.recorded.get(name))}</td>' for name in names)
        rows.append(
            f'<tr class="{"out" if row.state in ("below", "above") else ""}"><td class="fact">'
            f"{escape(row.statistic.title)}<br/><code>{row.statistic.name}</code>"
            f'<div class="meaning">{escape(row.statistic.meaning)}</div></td>'
            f'<td class="n">{number(row.value)}</td><td>{_gauge(row)}</td>'
            f'<td class="n">{_span(row.range)}</td>{recorded}{_state(row)}</tr>\n'
        )
    heads = ["Statistic", "Value.n", "In its range", "Range.n", *(f"{name}.n" for name in names), "Inside?"]
    return _table(heads, "".join(rows))


def _laws(laws: Iterable[LawRow]) -> str:
    rows = "".join(
        f'<tr class="{"" if law.state == "inside" else "out"}"><td class="fact">{escape(law.title)}<br/>'
        f'<code>{law.name}</code><div class="meaning">{escape(law.meaning)}</div></td>'
        f'<td class="n">{number(law.value)}</td><td class="n">{_span(law.range)}</td>{_state(law)}</tr>\n'
        for law in laws
    )
    return _table(["Impact", "Value.n", "Known range.n", "Inside?"], rows)


def _span(span: Range | None) -> str:
    return "-" if span is None else f"{number(span.low)} .. {number(span.high)}"


def _state(row: BookRow | LawRow) -> str:
    kind = {"inside": "in", "below": "off", "above": "off"}.get(row.state, "")
    share = ""
    if isinstance(row, BookRow) and kind:
        style = "white-space: normal; font-weight: 400"
        share = f'<div class="meaning" style="{style}">{percent(row.coverage)} of windows</div>'
    return f'<td class="state {kind}">{MARKS[row.state]} {row.state}{share}</td>'


def _gauge(row: BookRow) -> str:
    """Return a small drawing of a value in its range, which always spans the middle half."""
    if row.range is None or math.isnan(row.value):
        return ""
    low, high = row.range.low, row.range.high
    if low > 0 and high / low > 8 and row.value > 0:
        share = math.log(row.value / low) / math.log(high / low)
    else:
        share = (row.value - low) / (high - low) if high > low else 0.5
    x = min(max(42.0 + 84.0 * share, 6.0), 162.0)
    told = f"{number(row.value)} in {_span(row.range)}: {row.state}"
    return (
        f'<svg class="gauge" viewBox="0 0 168 20" role="img" aria-label="{told}">'
        '<line x1="2" y1="10" x2="166" y2="10" stroke="var(--line)"/>'
        '<rect x="42" y="5" width="84" height="10" fill="var(--span)" stroke="var(--real)"/>'
        f'<path d="M{x:.1f} 3.5 l5 6.5 l-5 6.5 l-5 -6.5 z" fill="var(--made)"/></svg>'
    )


def _table(columns: Iterable[str], rows: str) -> str:
    heads = "".join(
        f'<th class="n" style="white-space: normal">{escape(name.removesuffix(".n"))}</th>'
        if name.endswith(".n")
        else f"<th>{escape(name)}</th>"
        for name in columns
    )
    return f'<div class="wide">\n<table>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n</div>\n'
