"""The page of integrations says which versions are tested, and these are the ones that are."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def rows() -> list[list[str]]:
    page = (ROOT / "docs/integrations/index.md").read_text(encoding="utf-8")
    table = page[page.index("| program | extra |") :].split("\n\n")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


def extras_of_adapters() -> dict[str, str]:
    """By extra, what it installs."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "optional-dependencies"
    ]
    adapters = {path.stem for path in (ROOT / "vlm2vec/integrations").iterdir()}
    return {name: " ".join(needs) for name, needs in extras.items() if name in adapters}


def test_each_version_in_the_table_is_the_one_in_the_constraints() -> None:
    pins = dict(
        re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.M)
    )
    said = [pair for row in rows() for pair in re.findall(r"`([\w.-]+)` (\S+?)(?:,|$)", row[4])]
    assert len(said) >= 9
    assert said == [(package, pins[package]) for package, _ in said]


def test_each_adapter_has_a_row_with_its_extra_and_its_package() -> None:
    by_extra = {row[1].strip("`"): row for row in rows()}
    for extra, needs in extras_of_adapters().items():
        row = by_extra[extra]
        package = re.match(r"[\w.-]+", needs.replace("vlm2vec[index]", "lancedb"))
        assert package is not None and f"`{package[0]}` " in row[4]
        assert f"`{extra}" in row[2]
        page = re.search(r"\(([\w.]+)", row[5])
        assert page is not None and (ROOT / "docs/integrations" / page[1]).is_file()
