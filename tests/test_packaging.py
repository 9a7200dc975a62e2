"""What an installed package promises before anything is encoded, and what it must never need."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from importlib.resources import files
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import vlm2vec

ROOT = Path(__file__).parent.parent
HEAVY = ("torch", "transformers", "sentence_transformers")
FORBIDDEN = ("torchvision", "torchcodec", "flash_attn", "cv2", "decord")
PYTHONS = ("3.11", "3.12", "3.13", "3.14")

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
REQUIREMENTS = [
    Requirement(line)
    for lines in (
        PROJECT["dependencies"],
        *PROJECT["optional-dependencies"].values(),
        *PYPROJECT["dependency-groups"].values(),
    )
    for line in lines
    if not line.startswith("vlm2vec[")
]

CONSTRAINTS = (ROOT / "constraints.txt").read_text(encoding="utf-8")
PINS = [Requirement(line) for line in CONSTRAINTS.splitlines() if not line.startswith("#")]

# Packages of which `vlm2vec/compat.py` is not the only file that touches what they do not promise to keep.
TOUCHED = {
    "peft": "tuners' own classes; transformers asks for a lowest peft at run time",
    "accelerate": "prepare_model is replaced; transformers asks for a lowest accelerate at run time",
    "bitsandbytes": "transformers and peft ask for a lowest version at run time",
    "datasets": "sentence-transformers' trainer knows its classes",
    "huggingface-hub": "names of its submodules that it does not export",
    "pypdfium2": "pypdfium2.raw",
    "av": "SideDataContainer is made by hand",
}


def python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=300, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


NO_NETWORK = """
import sys
def refuse(event, arguments):
    if event.startswith("socket."):
        raise AssertionError(event)
sys.addaudithook(refuse)
"""


def test_import_loads_no_torch_and_opens_no_socket() -> None:
    code = (
        f"{NO_NETWORK}\nimport vlm2vec\nprint(vlm2vec.__version__, [m for m in {HEAVY} if m in sys.modules])"
    )
    assert python(code) == f"{vlm2vec.__version__} []"


@pytest.mark.parametrize(
    "use",
    [
        "vlm2vec.errors.InputError, vlm2vec.Limits()",
        "vlm2vec.profiles.names()",
        "vlm2vec.Video(['a.png'])",
        "parse.parse_input({'text': 'a', 'image': np.zeros((30, 30, 3), np.uint8)})",
    ],
)
def test_inputs_profiles_and_errors_need_no_torch(use: str) -> None:
    code = (
        f"import sys, vlm2vec\nimport numpy as np\nfrom vlm2vec.inputs import parse\n{use}\n"
        f"print([m for m in {HEAVY} if m in sys.modules])"
    )
    assert python(code) == "[]"


def test_the_embedded_model_encodes_every_kind_without_network_or_unwanted_packages(tmp_path: Path) -> None:
    code = f"""{NO_NETWORK}
from pathlib import Path
from vlm2vec import VLM2Vec, pdf_pages
from vlm2vec.world.samples import write_samples
paths = list(dict.fromkeys(sample.path for sample in write_samples(Path({str(tmp_path)!r}))))
inputs = ["text", *paths]
inputs += pdf_pages(next(path for path in paths if path.suffix == ".pdf"))
vectors = VLM2Vec().encode(inputs)
print(len(vectors) == len(inputs), [m for m in {FORBIDDEN} if m in sys.modules])
"""
    assert python(code) == "True []"


def test_no_requirement_brings_unwanted_packages() -> None:
    wanted = " ".join(metadata.requires("vlm2vec") or [])
    assert not [name for name in FORBIDDEN if re.search(rf"\b{name.replace('_', '[-_]')}\b", wanted)]


def test_version_is_the_same_everywhere() -> None:
    assert metadata.version("vlm2vec") == vlm2vec.__version__
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## [{vlm2vec.__version__}]" in changelog


def test_public_names_can_be_imported_and_others_cannot() -> None:
    for name in vlm2vec.__all__:
        assert getattr(vlm2vec, name) is not None
    assert set(vlm2vec.__all__) == set(dir(vlm2vec))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = vlm2vec.nonsense  # type: ignore[attr-defined]


def test_types_are_published() -> None:
    assert files("vlm2vec").joinpath("py.typed").is_file()


def test_assets_fit_into_the_wheel() -> None:
    assets = ROOT / "vlm2vec" / "assets"
    sizes = {path.name: path.stat().st_size for path in assets.rglob("*") if path.is_file()}
    assert sum(sizes.values()) <= 8_000_000, sizes
    assert any(name.endswith(".safetensors") for name in sizes)


def test_the_readme_has_every_row_of_the_input_table() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    table = readme[readme.index("## Inputs") :]
    rows = [line for line in table.splitlines() if line.startswith("| ")]
    for start in (
        "`str`",
        "`pathlib.Path`",
        "`PIL.Image`",
        "array `(T, H, W, 3)`",
        "`bytes`",
        '`{"text": ...',
        "`[part, part, ...]`",
        '`{"prompt": ...',
    ):
        assert any(row.startswith(f"| {start}") for row in rows), start


@pytest.mark.parametrize(("name", "ends_with"), [("demo", "vlm2vec demo"), ("tests", "-m pytest")])
def test_the_readme_has_the_commands_that_ci_runs(name: str, ends_with: str) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (command,) = re.findall(rf"<!-- command: {name} -->\n```bash\n(.+)\n```", readme)
    assert command.startswith("python -m venv .venv && .venv/bin/pip install -c constraints.txt ")
    assert command.endswith(ends_with)
    assert (ROOT / ".ci" / "run").read_text(encoding="utf-8").count("readme_command tests") == 1


@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=str)
def test_the_constraints_pin_each_requirement_within_its_range(requirement: Requirement) -> None:
    pins = [pin for pin in PINS if canonicalize_name(pin.name) == canonicalize_name(requirement.name)]
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
    assert not re.search(r"index|find-links|://", CONSTRAINTS)


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
    pins = {canonicalize_name(pin.name): pin for pin in PINS if pin.marker is None or pin.marker.evaluate()}
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
    bounded = {
        canonicalize_name(requirement.name)
        for requirement in REQUIREMENTS
        if any(specifier.operator in ("<", "==", "~=") for specifier in requirement.specifier)
    }
    known = {canonicalize_name(requirement.name) for requirement in REQUIREMENTS}
    assert {"torch", "transformers", "sentence-transformers"} <= touched
    assert (touched | set(TOUCHED)) & known <= bounded


def test_the_versions_of_python_are_the_same_everywhere() -> None:
    assert PROJECT["requires-python"] == f">={PYTHONS[0]}"
    named = [line.rpartition(" ")[2] for line in PROJECT["classifiers"] if "Python :: 3." in line]
    assert tuple(named) == PYTHONS
    assert PYPROJECT["tool"]["mypy"]["python_version"] == PYTHONS[0]
    assert PYPROJECT["tool"]["ruff"]["target-version"] == "py" + PYTHONS[0].replace(".", "")
    for name in ("README.md", "CONTRIBUTING.md", "docs/quickstart.md"):
        assert f"Python {PYTHONS[0]} to {PYTHONS[-1]}" in (ROOT / name).read_text(encoding="utf-8"), name
    assert f"for version in {' '.join(PYTHONS)}; do" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))["jobs"]
    (first,) = [step["with"]["python-version"] for step in jobs["all"]["steps"] if "with" in step]
    assert (first, *jobs["pythons"]["strategy"]["matrix"]["python"]) == PYTHONS


def test_torch_is_pinned_to_one_version_everywhere() -> None:
    (pin,) = [str(pin) for pin in PINS if pin.name == "torch"]
    assert PYPROJECT["tool"]["uv"]["constraint-dependencies"] == [pin]
    for name in ("README.md", "docs/quickstart.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert re.findall(r"torch==\S+", text) == [pin], name


def test_the_command_that_wrote_the_constraints_is_in_contributing() -> None:
    command = CONSTRAINTS.splitlines()[1].removeprefix("#").strip()
    assert command.replace("--universal", "--universal --upgrade") in (ROOT / "CONTRIBUTING.md").read_text(
        encoding="utf-8"
    )
