"""Ranges, constraints and versions of Python say the same wherever they are written."""

from __future__ import annotations

import ast
import re
import tomllib
from importlib import metadata
from itertools import chain
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PYTHONS = ("3.11", "3.12", "3.13", "3.14")

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
GROUPS = [
    PROJECT["dependencies"],
    *PROJECT["optional-dependencies"].values(),
    *PYPROJECT["dependency-groups"].values(),
]
REQUIREMENTS = [
    Requirement(line) for line in dict.fromkeys(chain(*GROUPS)) if not line.startswith("vlm2vec[")
]

CONSTRAINTS = (ROOT / "constraints.txt").read_text(encoding="utf-8")
PINS = [Requirement(line) for line in CONSTRAINTS.splitlines() if not line.startswith("#")]

# Beside those of `vlm2vec/compat.py`: packages of which something is touched that may change without notice.
TOUCHED = {
    "peft": "classes of its tuners; transformers checks its version at run time",
    "accelerate": "prepare_model is replaced; transformers checks its version at run time",
    "bitsandbytes": "transformers and peft check its version at run time",
    "datasets": "sentence-transformers' trainer knows its classes",
    "huggingface-hub": "names in its submodules that it does not export",
    "pypdfium2": "pypdfium2.raw",
    "av": "a SideDataContainer is made by hand",
}


@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=str)
def test_the_constraints_pin_each_requirement_within_its_range(requirement: Requirement) -> None:
    pins = [pin for pin in PINS if pin.name == canonicalize_name(requirement.name)]
    assert pins
    for pin in pins:
        (version,) = [specifier.version for specifier in pin.specifier]
        assert requirement.specifier.contains(version), pin


def test_constraints_are_versions_that_every_machine_can_get() -> None:
    for pin in PINS:
        (specifier,) = pin.specifier
        assert specifier.operator == "==", pin
        assert "+" not in specifier.version, f"{pin} is a build that PyPI does not have"
        assert pin.url is None, pin
    assert not re.search(r"--(extra-)?index|--find-links|://", CONSTRAINTS)


def installed_requirements() -> set[str]:
    """What the package and its tests bring into this environment, in any number of steps."""
    found: set[str] = set()
    waiting = [("vlm2vec", extra) for extra in ("", "test")]
    while waiting:
        name, extra = waiting.pop()
        for line in metadata.requires(name) or []:
            needed = Requirement(line)
            key = canonicalize_name(needed.name)
            if needed.marker is not None and not needed.marker.evaluate({"extra": extra}):
                continue
            waiting += [(key, each) for each in ("", *needed.extras)] if key not in found else []
            found.add(key)
    return found - {"vlm2vec"}


def test_the_constraints_name_every_package_that_an_install_brings() -> None:
    pins = {pin.name: pin for pin in PINS if pin.marker is None or pin.marker.evaluate()}
    names = installed_requirements()
    if any(
        name in pins and not pins[name].specifier.contains(metadata.version(name), prereleases=True)
        for name in names
    ):
        pytest.skip("this environment was not made with the constraints")
    assert names <= set(pins)


def test_what_may_change_without_notice_has_an_upper_bound() -> None:
    source = (ROOT / "vlm2vec" / "compat.py").read_text(encoding="utf-8")
    touched = {
        node.module.split(".")[0].replace("_", "-")
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ImportFrom) and node.module
    }
    assert {"torch", "transformers", "sentence-transformers"} <= touched
    for requirement in REQUIREMENTS:
        if canonicalize_name(requirement.name) in touched | set(TOUCHED):
            assert "<" in {specifier.operator for specifier in requirement.specifier}, requirement


def test_the_versions_of_python_are_the_same_everywhere() -> None:
    assert PROJECT["requires-python"] == f">={PYTHONS[0]}"
    named = [line.rpartition(" ")[2] for line in PROJECT["classifiers"] if "Python :: 3." in line]
    assert tuple(named) == PYTHONS
    assert PYPROJECT["tool"]["mypy"]["python_version"] == PYTHONS[0]
    assert PYPROJECT["tool"]["ruff"]["target-version"] == "py" + PYTHONS[0].replace(".", "")
    for name in ("README.md", "CONTRIBUTING.md", "docs/quickstart.md", "docs/installation.md"):
        assert f"Python {PYTHONS[0]} to {PYTHONS[-1]}" in (ROOT / name).read_text(encoding="utf-8"), name
    assert f"for version in {' '.join(PYTHONS)}; do" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))["jobs"]
    (first,) = [step["with"]["python-version"] for step in jobs["all"]["steps"] if "with" in step]
    assert (first, *jobs["pythons"]["strategy"]["matrix"]["python"]) == PYTHONS


def test_torch_is_pinned_to_one_version_everywhere() -> None:
    (pin,) = [str(pin) for pin in PINS if pin.name == "torch"]
    assert PYPROJECT["tool"]["uv"]["constraint-dependencies"] == [pin]
    for name in ("README.md", "docs/quickstart.md", "docs/installation.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert re.findall(r"torch==\S+", text) == [pin], name


def test_the_command_that_wrote_the_constraints_is_in_contributing() -> None:
    command = CONSTRAINTS.splitlines()[1].removeprefix("#").strip()
    assert command.replace("--universal", "--universal --upgrade") in (ROOT / "CONTRIBUTING.md").read_text(
        encoding="utf-8"
    )
