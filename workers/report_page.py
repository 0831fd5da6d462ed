"""The report as one HTML page: no script, no outside resource, and a policy that forbids both."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from html import escape
from typing import Any

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;color:#1b2026;background:#fff}
h1{font-size:1.5rem}h2{font-size:1.1rem;margin:2rem 0 .3rem;border-top:1px solid #d8dde3;padding-top:1rem}
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.2rem .6rem .2rem 0;vertical-align:middle}
td.n{text-align:right;font-variant-numeric:tabular-nums}th{font-weight:600;color:#59636e}
.bad{color:#b3261e}.good{color:#1a7f37}.dim{color:#59636e}
@media(prefers-color-scheme:dark){body{background:#14181d;color:#e6e9ed}th,.dim{color:#9aa5b1}}
"""
_DIGEST = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY = f"default-src 'none'; style-src 'sha256-{_DIGEST}'; base-uri 'none'; form-action 'none'"

INTRODUCTION = (
    "Each line is one model's opinion. <b>exact</b> is a log-likelihood itself, <b>lower bound</b> lies below it, "
    "<b>estimate</b> may lie on either side. Log-likelihoods of different models are of different things and cannot "
    "be compared; percentiles can: they say which share of the model's reference molecules is less likely."
)


def page(rows: Iterable[dict[str, Any]]) -> bytes:
    """The whole page, UTF-8."""
    sections = "".join(section(row) for row in rows)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">'
        '<meta name="viewport" content="width=device-width"><title>Plausibility report</title>'
        f"<style>{STYLE}</style></head><body><h1>Plausibility report</h1>"
        f'<p class="dim">{INTRODUCTION}</p>{sections}</body></html>\n'
    ).encode()


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
    table = (
        "<table><tr><th>model</th><th>figure</th><th>value</th><th>±</th><th>kind</th><th>percentile</th>"
        f"<th>domain</th></tr>{lines}</table>"
        if lines
        else ""
    )
    smiles = escape(str(row.get("smiles") or ""))
    return (
        f"<h2>{row['index']}: {escape(str(name))}</h2><p>{smiles} {verdicts}</p>"
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


def number(value: Any) -> str:
    """Four digits; a dash where there is none."""
    return f"{value:.4g}" if isinstance(value, int | float) else "–"


def bar(percentile: Any) -> str:
    """Where a molecule stands between the least and the most likely reference molecule."""
    if not isinstance(percentile, int | float):
        return ""
    color = "#b3261e" if percentile < 1 else "#c08a00" if percentile < 5 else "#1a7f37"
    x = 2 + 96 * percentile / 100
    return (
        f'<svg width="150" height="14" role="img" aria-label="percentile {percentile:g}">'
        '<rect x="2" y="6" width="96" height="2" fill="#9aa5b1"/>'
        f'<circle cx="{x:.1f}" cy="7" r="4" fill="{color}"/>'
        f'<text x="106" y="11" font-size="11" fill="{color}">{percentile:.3g}</text></svg>'
    )
