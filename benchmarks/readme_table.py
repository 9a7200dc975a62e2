"""Writes the tables of the README's section on performance from what was measured.

python benchmarks/readme_table.py [--check]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
README, RESULTS = ROOT / "README.md", ROOT / "benchmarks" / "results"
BEGIN, END = "<!-- performance: written by benchmarks/readme_table.py -->", "<!-- performance: end -->"

_WAYS = {
    "sentence-transformers, batch 32": "sentence-transformers",
    "sentence-transformers, batch 8": "the same, batches of 8",
    "padded transformers": "padded transformers",
}
"""By their names in the results: what the table calls them."""

_FIRST_NETWORK = "qwen2_vl"
"""What older results, which name no network, were measured on."""


def section(results: Path) -> str:
    """Text between the markers: a table for each network in each file of `benchmarks/encode.py`.

    What an older version of this package gave has a note that says so, written by hand, and is left out.
    """
    files = sorted(results.glob("encode-*.json"))
    measured = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    return "\n".join(text for one in measured if "note" not in one for text in tables(one))


def tables(measured: dict[str, Any]) -> list[str]:
    """What was measured on one machine with one model, on each of its networks."""
    networks = dict.fromkeys(row.get("network", _FIRST_NETWORK) for row in measured["rows"])
    return [table(measured, network) for network in networks or [_FIRST_NETWORK]]


def table(measured: dict[str, Any], network: str) -> str:
    """What was measured on one machine with one model on one network."""
    machine, rates = measured["machine"], measured["gflops"]
    products = ", ".join(f"{name} {rate:.0f}" for name, rate in rates.items())
    named = "" if network == _FIRST_NETWORK else f" on the network `{network}`"
    lines = [
        f"{machine['processor']}, {machine['threads']} threads, torch {machine['torch']}, "
        f"model `{measured['model']}`{named}. Matrix products in that run, in GFLOP/s: {products}.",
        "",
        f"| work | {' | '.join(_WAYS.values())} | largest error |",
        f"|---|{'---|' * len(_WAYS)}---|",
        *(_line(row) for row in measured["rows"] if row.get("network", _FIRST_NETWORK) == network),
    ]
    return "\n".join(lines) + "\n"


def _line(row: dict[str, Any]) -> str:
    if row["dtype"] == "float32":
        error = f"{row['max_abs_error']['ours']:.0e}"
    else:
        error = f"cosine {row['min_cosine']['ours']:.5f}"
    ratios = " | ".join(f"{row['ratio'][way]:.1f}x" for way in _WAYS)
    return f"| {row['work']} | {ratios} | {error} |"


def filled(readme: str, text: str) -> str:
    """The README with that text between its markers."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"README.md needs the lines {BEGIN} and {END}")
    return f"{before}{begin}\n{text}{end}{after}"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing, fail where the README differs")
    options = parser.parse_args(arguments)
    readme = README.read_text(encoding="utf-8")
    text = filled(readme, section(RESULTS))
    if options.check and text != readme:
        raise SystemExit("README.md differs from what was measured: run benchmarks/readme_table.py")
    if text != readme:
        README.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
