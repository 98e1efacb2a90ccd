"""The report as one HTML page that needs nothing else: no network, no script, light or dark as the reader's screen is.

Everything that comes from outside (file names, symbols) is escaped. What matters is never told by colour alone.
"""

import math
from collections.abc import Iterable, Sequence
from html import escape

import numpy as np

from fauxchange import __version__
from fauxchange.realism.distances import DISTANCES
from fauxchange.realism.judging import Row
from fauxchange.realism.report import plots, words
from fauxchange.realism.report.comparing import Comparison, Correlations, Similarity
from fauxchange.realism.report.pictures import Picture

MARKS = words.MARKS

STYLE = """\
:root { color-scheme: light dark; --ground: #ffffff; --card: #f6f8fa; --ink: #24292f; --soft: #57606a;
  --line: #d8dee4; --real: #1f5fbf; --made: #c2410c; --faint: #9aa1a9; --good: #1a7f37; --bad: #cf222e;
  --third: #1a7f5a; --fourth: #8250df; --fifth: #9a6700; --span: #cfe0f7; }
@media (prefers-color-scheme: dark) { :root { --ground: #0d1117; --card: #161b22; --ink: #e6edf3; --soft: #9da7b1;
  --line: #30363d; --real: #6cb0ff; --made: #ff9d5c; --faint: #6e7681; --good: #56d364; --bad: #ff7b72;
  --third: #56d3a5; --fourth: #c297ff; --fifth: #e3b341; --span: #1f3a5f; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 66rem; background: var(--ground); color: var(--ink);
  font: 16px/1.55 system-ui, "Segoe UI", "DejaVu Sans", Arial, sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .25rem; } h2 { font-size: 1.3rem; margin: 3rem 0 .75rem; }
h3 { font-size: 1.05rem; margin: 1.75rem 0 .5rem; }
p { margin: .5rem 0; } .soft { color: var(--soft); } small, .small { font-size: .85rem; }
.verdict { background: var(--card); border: 1px solid var(--line); border-left: .35rem solid var(--soft);
  border-radius: .4rem; padding: .9rem 1.1rem; margin: 1rem 0; }
.verdict.alike { border-left-color: var(--good); } .verdict.different { border-left-color: var(--bad); }
.verdict strong { font-size: 1.05rem; }
.scores { display: flex; flex-wrap: wrap; gap: .5rem 2.25rem; margin: .75rem 0 0; }
.scores div { min-width: 6rem; } .scores b { display: block; font-size: 1.3rem; font-variant-numeric: tabular-nums; }
nav { margin: 1rem 0; } nav a { margin-right: 1.1rem; } a { color: var(--real); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { padding: .38rem .6rem .38rem 0; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
th { font-weight: 600; white-space: nowrap; } td.n, th.n { text-align: right; font-variant-numeric: tabular-nums;
  white-space: nowrap; }
td.n + td:not(.n), th.n + th:not(.n) { padding-left: 1rem; }
tr.out td { background: color-mix(in srgb, var(--bad) 9%, transparent); }
.state { white-space: nowrap; font-weight: 600; } .state.in { color: var(--good); } .state.off { color: var(--bad); }
.meaning { color: var(--soft); font-size: .84rem; line-height: 1.4; } td.fact { min-width: 17rem; max-width: 25rem; }
code { font-size: .8rem; color: var(--soft); }
.gauge { display: block; width: 9rem; height: 1.2rem; margin-top: .15rem; }
figure { margin: 1.5rem 0 0; padding: .9rem 1rem .6rem; background: var(--card); border: 1px solid var(--line);
  border-radius: .4rem; }
figure h3 { margin: 0 0 .4rem; } figcaption { color: var(--soft); font-size: .88rem; margin-top: .3rem; }
.picture { display: block; width: 100%; height: auto; max-width: 56rem; margin: 0 auto; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1.25rem; font-size: .9rem; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
footer { margin-top: 3rem; border-top: 1px solid var(--line); padding-top: 1rem; color: var(--soft);
  font-size: .85rem; }
@media print { figure, .verdict { break-inside: avoid; } }
"""


def page(similarity: Similarity, *, title: str = "Similarity report", extra: Sequence[str] = ()) -> str:
    """Return the whole page; `extra` are sections of others (HTML), put after the symbols."""
    symbols = [comparison.symbol for comparison in similarity.comparisons]
    told = ", ".join(symbols)
    return "".join(
        [
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8"/>\n',
            '<meta name="viewport" content="width=device-width, initial-scale=1"/>\n',
            f"<title>{escape(title)}: {escape(told)}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n",
            f"<header>\n<h1>How alike generated and real prices are: {escape(told)}</h1>\n",
            f'<p class="soft">{escape(title)} by Fauxchange {__version__}</p>\n',
            "</header>\n",
            _contents(similarity),
            *(_symbol(comparison, single=len(symbols) == 1) for comparison in similarity.comparisons),
            _correlations(similarity.correlations),
            *extra,
            _method(similarity),
            "</body>\n</html>\n",
        ]
    )


def figure(picture: Picture, *, prefix: str = "") -> str:
    """Return a picture with its title and caption; `prefix` keeps names apart where a page has it several times."""
    named = Picture(f"{prefix}{picture.name}", picture.title, picture.caption, picture.figure)
    return (
        f"<figure>\n<h3>{escape(picture.title)}</h3>\n{named.inline()}\n"
        f"<figcaption>{escape(picture.caption)}</figcaption>\n</figure>\n"
    )


def _contents(similarity: Similarity) -> str:
    if len(similarity.comparisons) == 1:
        return ""
    rows = "".join(
        f'<tr><td><a href="#{_anchor(each.symbol)}">{escape(each.symbol)}</a></td>'
        f'<td class="n">{each.verdict.passed} of {each.verdict.of}</td>'
        f'<td class="n">{words.percent(each.verdict.coverage)}</td>'
        f'<td class="n">{", ".join(str(run.passed) for run in each.by_run.values())}</td>'
        f"<td>{escape(each.against.name)}</td><td>{escape(_outside(each))}</td></tr>\n"
        for each in similarity.comparisons
    )
    told = f"<p><strong>{escape(words.headline(similarity))}</strong></p>\n"
    return told + _table(
        ("Symbol", "Facts inside.n", "Coverage.n", "By run.n", "Reference", "Outside"),
        rows,
        caption=words.correlation_text(similarity.correlations),
    )


def _outside(comparison: Comparison) -> str:
    return ", ".join(row.fact.title for row in words.outside(comparison.verdict)) or "none"


def _symbol(comparison: Comparison, *, single: bool) -> str:
    anchor = _anchor(comparison.symbol)
    verdict = comparison.verdict
    level = words.level_of(verdict)
    recording = comparison.real_verdict
    scores = [
        (f"{verdict.passed} of {verdict.of}", "facts inside"),
        (f"{verdict.structural_passed} of {verdict.structural_of}", "of those that noise fails"),
        (words.percent(verdict.coverage), "of single weeks inside"),
        (str(verdict.weeks), "generated weeks"),
        *([] if recording is None else [(f"{recording.passed} of {recording.of}", "the recording itself")]),
    ]
    parts = [
        f'<section id="{anchor}">\n',
        "" if single else f"<h2>{escape(comparison.symbol)}</h2>\n",
        f'<div class="verdict {level}">\n<strong>{escape(words.HEADLINES[level])}</strong>\n',
        f"<p>{escape(words.verdict_text(comparison))}</p>\n",
        '<div class="scores">',
        *(f"<div><b>{escape(value)}</b><small>{escape(name)}</small></div>" for value, name in scores),
        "</div>\n",
        f'<p class="small soft">By run: {escape(_by_run(comparison))}</p>\n' if len(comparison.by_run) > 1 else "",
        "</div>\n<h3>Facts</h3>\n",
        _facts(comparison),
        _distances(comparison),
        "<h3>Plots</h3>\n",
        *(figure(picture, prefix=f"{anchor}-") for picture in pictures_of(comparison)),
        "</section>\n",
    ]
    return "".join(parts)


def pictures_of(comparison: Comparison) -> list[Picture]:
    """Return the plots of one symbol."""
    real, made = comparison.real, comparison.made
    intervals = {name: (each.low, each.high) for name, each in comparison.against.intervals.items()}
    return [
        plots.tails(real, made, intervals),
        plots.memory(real, made, intervals),
        plots.seasons(real, made),
        plots.fading(real, made, intervals),
        *([] if real is None else [plots.quantiles(real, made)]),
        plots.paths(comparison.real_week, comparison.made_weeks),
    ]


def _by_run(comparison: Comparison) -> str:
    return "; ".join(
        f"{name}: {each.passed} of {each.of}, {words.percent(each.coverage)}"
        for name, each in comparison.by_run.items()
    )


def _facts(comparison: Comparison) -> str:
    recorded = {} if comparison.real_verdict is None else {r.fact.name: r for r in comparison.real_verdict.rows}
    rows = []
    for row in comparison.verdict.rows:
        state = words.state_of(row)
        kind = "in" if state == "inside" else "" if row.is_set_by_scenario else "off"
        real = recorded.get(row.fact.name)
        rows.append(
            f'<tr class="{"out" if kind == "off" else ""}" id="{_anchor(comparison.symbol)}-{row.fact.name}">'
            f'<td class="fact">{escape(row.fact.title)} <code>{row.fact.name}</code>'
            f'<div class="meaning">{escape(row.fact.meaning)}</div></td>'
            f'<td class="n">{words.number(row.value)}</td>'
            f'<td class="n">{words.number(row.interval.low)} .. {words.number(row.interval.high)}</td>'
            f"<td>{gauge(row, comparison.against.medians.get(row.fact.name))}</td>"
            f'<td class="state {kind}">{MARKS[state]} {state}</td>'
            f'<td class="n">{words.percent(row.coverage)}</td>'
            + (f'<td class="n">{"-" if real is None else words.number(real.value)}</td>' if recorded else "")
            + "</tr>\n"
        )
    columns = ["Fact", "Value.n", "Real range.n", "", "Is it inside?", "Weeks.n"]
    if recorded:
        columns.append("Recording.n")
    caption = (
        "The bar is the range of real weeks, the upright line in it their median, the diamond the generated value. "
        "Weeks: the share of single weeks inside."
    )
    return _table(columns, "".join(rows), caption=caption)


def gauge(row: Row, median: float | None) -> str:
    """Return a small drawing of a value in its interval, which always spans the middle half."""
    low, high = row.interval.low, row.interval.high

    def place(value: float) -> float:
        if low > 0.0 and high / low > 8.0 and value > 0.0:
            share = math.log(value / low) / math.log(high / low)
        else:
            share = (value - low) / (high - low) if high > low else 0.5
        return min(max(42.0 + 84.0 * share, 6.0), 162.0)

    marks = [
        '<line x1="2" y1="10" x2="166" y2="10" stroke="var(--line)"/>',
        '<rect x="42" y="5" width="84" height="10" fill="var(--span)" stroke="var(--real)"/>',
    ]
    if median is not None and math.isfinite(median):
        x = place(median)
        marks.append(f'<line x1="{x:.1f}" y1="3" x2="{x:.1f}" y2="17" stroke="var(--real)" stroke-width="1.5"/>')
    if math.isfinite(row.value):
        x = place(row.value)
        marks.append(f'<path d="M{x:.1f} 3.5 l5 6.5 l-5 6.5 l-5 -6.5 z" fill="var(--made)"/>')
    label = f"{words.number(row.value)} in {words.number(low)} to {words.number(high)}: {words.state_of(row)}"
    return f'<svg class="gauge" viewBox="0 0 168 20" role="img" aria-label="{label}">{"".join(marks)}</svg>'


def _distances(comparison: Comparison) -> str:
    if not comparison.distances:
        return "<h3>Distances</h3>\n<p>They are measured to a recording: name one with <code>--real FILE</code>.</p>\n"
    rows = []
    for name, value in comparison.distances.items():
        limits = comparison.limits(name)
        known = limits is not None and not math.isnan(value)
        near = known and limits is not None and value <= limits[1]
        state = "" if not known else f"{MARKS['inside']} as real months" if near else f"{MARKS['above']} farther"
        rows.append(
            f'<tr class="{"out" if known and not near else ""}">'
            f"<td>{escape(DISTANCES[name])}<br/><code>{name}</code></td>"
            f'<td class="n">{words.number(value)}</td>'
            + "".join(f'<td class="n">{words.number(each)}</td>' for each in (limits or (None, None)))
            + f'<td class="state {"in" if near else "off" if known else ""}">{state}</td></tr>\n'
        )
    caption = (
        f"From {comparison.real_name} to generated stretches as long as it; median of {comparison.stretches}. "
        "A generated month whose distance is below the 90 % column is as near as another real month."
    )
    columns = ("Distance", "Generated.n", "Real months: median.n", "90 %.n", "Is it near?")
    return "<h3>Distances</h3>\n" + _table(columns, "".join(rows), caption=caption)


def _correlations(correlations: Sequence[Correlations]) -> str:
    if not correlations:
        return ""
    first = correlations[0]
    known = all(each.targets is not None for each in correlations)
    picture = plots.correlations(
        first.symbols,
        {each.minutes: each.generated for each in correlations},
        {each.minutes: each.targets for each in correlations if each.targets is not None} if known else None,
    )
    pairs = [(a, b) for a in range(len(first.symbols)) for b in range(a)]
    rows = []
    for a, b in pairs:
        cells = ""
        for each in correlations:
            goal = float("nan") if each.targets is None else float(each.targets[a, b])
            value = float(each.generated[a, b])
            off = math.isfinite(goal) and abs(value - goal) > words.CORRELATION_MISS
            mark = f" {MARKS['above' if value > goal else 'below']}" if off else ""
            target = f"{goal:.3f}" if np.isfinite(goal) else "-"
            cells += f'<td class="n">{value:.3f}{mark}</td><td class="n soft">{target}</td>'
        names = "-".join(symbol.partition("/")[0] for symbol in (first.symbols[b], first.symbols[a]))
        rows.append(f"<tr><td>{escape(names)}</td>{cells}</tr>\n")
    columns = ["Pair", *(f"{text}.n" for each in correlations for text in (f"{each.minutes} min", "real"))]
    note = f"A triangle marks a pair that misses the real one by more than {words.CORRELATION_MISS}."
    return (
        f'<section id="correlations">\n<h2>Correlation between symbols</h2>\n'
        f"<p>{escape(words.correlation_text(correlations))}</p>\n{figure(picture)}"
        f"{_table(columns, ''.join(rows), caption=note if known else '')}</section>\n"
    )


def _method(similarity: Similarity) -> str:
    facts = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in similarity.origin.items())
    return (
        f'<section id="method">\n<h2>How to read this</h2>\n<p>{escape(words.HOW_TO_READ)}</p>\n'
        f"<p>{escape(words.LIMITS)}</p>\n<h3>How it was made</h3>\n<dl>{facts}</dl>\n</section>\n"
        "<footer>Real ranges: weeks of one-minute prices observed on Binance, 2021 to 2025. Generated prices are "
        "nobody's quotes.</footer>\n"
    )


def _table(columns: Iterable[str], rows: str, *, caption: str = "") -> str:
    heads = "".join(
        f'<th class="n">{escape(name.removesuffix(".n"))}</th>' if name.endswith(".n") else f"<th>{escape(name)}</th>"
        for name in columns
    )
    told = f'<p class="small soft">{escape(caption)}</p>\n' if caption else ""
    head = f"<thead><tr>{heads}</tr></thead>"
    return f'<div class="wide">\n<table>\n{head}\n<tbody>\n{rows}</tbody>\n</table>\n</div>\n{told}'


def _anchor(symbol: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in symbol.lower())
