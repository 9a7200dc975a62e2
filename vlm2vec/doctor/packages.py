"""Which versions are installed, and whether they are those that this package was tested with."""

from __future__ import annotations

import re
from importlib import metadata
from typing import Any

from packaging.requirements import Requirement

__all__ = ["extras", "packages"]


def packages() -> dict[str, dict[str, Any]]:
    """Of each package that this one needs, its version, the range, and whether it lies in it."""
    found = {}
    for requirement in _requirements(None):
        version = _version(requirement.name)
        fits = version is not None and requirement.specifier.contains(version, prereleases=True)
        found[requirement.name] = {"version": version, "wanted": str(requirement.specifier), "fits": fits}
    return found


def extras() -> dict[str, list[str]]:
    """Of each extra, the packages that are missing or of another version: none where it can be used."""
    names = metadata.metadata("vlm2vec").get_all("Provides-Extra") or []
    return {name: _missing(name) for name in sorted(set(names) - {"all", "test"})}


def _missing(extra: str) -> list[str]:
    missing: list[str] = []
    for requirement in _requirements(extra):
        if requirement.name == "vlm2vec":
            missing += [name for other in sorted(requirement.extras) for name in _missing(other)]
            continue
        version = _version(requirement.name)
        if version is None or not requirement.specifier.contains(version, prereleases=True):
            missing.append(f"{requirement.name}{requirement.specifier}")
    return missing


def _requirements(extra: str | None) -> list[Requirement]:
    """Those of the package itself, or those that one extra adds, on this system and Python."""
    found = []
    for line in metadata.requires("vlm2vec") or []:
        requirement = Requirement(line)
        if not requirement.marker:
            wanted = extra is None
        elif re.search(r"\bextra\b", str(requirement.marker)):
            wanted = extra is not None and requirement.marker.evaluate({"extra": extra})
        else:
            wanted = extra is None and requirement.marker.evaluate()
        if wanted:
            found.append(requirement)
    return found


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
