"""The report as one HTML page: no script, no outside resource, and a policy that forbids both."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from workers.report_plots import RARE, UNUSUAL, bar, number, overview, strips

STYLE = """
:root{--ink:#1b2026;--dim:#59636e;--line:#d8dde3;--ground:#fff;--rare:#b3261e;--odd:#b07800;--usual:#1a7f37}
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ed;--dim:#9aa5b1;--line:#39424d;--ground:#14181d;
--rare:#ff8a80;--odd:#e3b341;--usual:#56d364}}
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;color:var(--ink);
background:var(--ground)}
h1{font-size:1.5rem}h2{font-size:1.1rem;margin:2rem 0 .3rem;border-top:1px solid var(--line);padding-top:1rem}
h2.plain{border:0;padding:0}p.smiles{overflow-wrap:anywhere}
div.wide{overflow-x:auto}table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:.2rem .6rem .2rem 0;vertical-align:middle}
td.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
th{font-weight:600;color:var(--dim)}
.bad{color:var(--rare)}.good{color:var(--usual)}.dim{color:var(--dim)}
svg text{font:12px system-ui,sans-serif;fill:var(--ink)}svg text.tick{fill:var(--dim);text-anchor:middle}
.axis{fill:var(--dim)}.grid{stroke:var(--line)}.dot{fill-opacity:.65}.none{fill:var(--line)}
.rare,.rare text{fill:var(--rare)}.odd,.odd text{fill:var(--odd)}.usual,.usual text{fill:var(--usual)}
"""
_DIGEST = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY = f"default-src 'none'; style-src 'sha256-{_DIGEST}'; base-uri 'none'; form-action 'none'"

LEGEND = (
    f"Red: below percentile {RARE:g}, unlike the reference molecules; amber: below {UNUSUAL:g}; gray: none."
)
HEADINGS = "".join(
    f"<th>{heading}</th>" for heading in ("model", "figure", "value", "±", "kind", "percentile", "domain")
)
INTRODUCTION = (
    "Each line is one model's opinion. <b>exact</b> is a log-likelihood itself, <b>lower bound</b> lies below it, "
    "<b>estimate</b> may lie on either side. Log-likelihoods of different models are of different things and cannot "
    "be compared; percentiles can: they say which share of the model's reference molecules is less likely."
)


def page(rows: Iterable[dict[str, Any]]) -> bytes:
    """The whole page, UTF-8."""
    kept = list(rows)
    sections = "".join(section(row) for row in kept)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">'
        '<meta name="viewport" content="width=device-width"><title>Plausibility report</title>'
        f"<style>{STYLE}</style></head><body><h1>Plausibility report</h1>"
        f'<p class="dim">{INTRODUCTION}</p>{whole(kept)}{sections}</body></html>\n'
    ).encode()


def whole(rows: Sequence[dict[str, Any]]) -> str:
    """All molecules together: how many are sound, and where they stand."""
    percentiles: dict[str, list[float]] = {}
    for row in rows:
        for score in row.get("scores", ()):
            if isinstance(score.get("percentile"), int | float):
                percentiles.setdefault(str(score["model"]), []).append(float(score["percentile"]))
    ordered = dict(sorted(percentiles.items()))
    counts = ", ".join(f"{sum(bool(row.get(key)) for row in rows)} {key}" for key in ("valid", "connected"))
    flagged = sum(bool(row.get("flags")) for row in rows)
    plots = "".join(
        f'<h2 class="plain">{title}</h2><div class="wide">{plot}</div>'
        for title, plot in (
            ("Where the molecules stand", strips(ordered)),
            ("Molecule by molecule", overview(rows, list(ordered))),
        )
        if plot
    )
    legend = f'<p class="dim">{LEGEND}</p>' if plots else ""
    return f"<p>{len(rows)} molecules: {counts}; {flagged} called unlike by a model.</p>{plots}{legend}"


def section(row: dict[str, Any]) -> str:
    """One molecule."""
    name = row.get("title") or row.get("smiles") or f"molecule {row['index']}"
    verdicts = " ".join(
        f'<span class="{"good" if row.get(key) else "bad"}">{key if row.get(key) else f"not {key}"}</span>'
        for key in ("valid", "connected", "stable")
        if key in row
    )
    reasons = "".join(f"<li>{escape(str(reason['message']))}</li>" for reason in row.get("reasons", ()))
    lines = "".join(line(score) for score in row.get("scores", ()))
    table = f'<div class="wide"><table><tr>{HEADINGS}</tr>{lines}</table></div>' if lines else ""
    smiles = escape(str(row.get("smiles") or ""))
    return (
        f"<h2>{row['index']}: {escape(str(name))}</h2>"
        f'<p class="smiles">{smiles} {verdicts}</p>'
        f"{f'<ul>{reasons}</ul>' if reasons else ''}{table}"
    )


def line(score: dict[str, Any]) -> str:
    """One score."""
    if score.get("problem"):
        return (
            f"<tr><td>{escape(str(score['model']))}</td><td>{escape(str(score['figure']))}</td>"
            f'<td colspan="5" class="dim">{escape(str(score["problem"]))}</td></tr>'
        )
    known = score.get("in_domain")
    domain = (
        ""
        if known is None
        else ('<span class="good">inside</span>', '<span class="bad">outside</span>')[not known]
    )
    error = score.get("standard_error")
    return (
        f"<tr><td>{escape(str(score['model']))}</td><td>{escape(str(score['figure']))}</td>"
        f'<td class="n">{number(score.get("value"))} {escape(str(score.get("unit", "")))}</td>'
        f'<td class="n">{number(error) if error else ""}</td>'
        f"<td>{escape(str(score.get('kind') or '').replace('_', ' '))}</td>"
        f"<td>{bar(score.get('percentile'))}</td><td>{domain}</td></tr>"
    )
