"""What an installed package promises before anything is encoded, and what it must never need."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import metadata
from importlib.resources import files
from pathlib import Path

import pytest

import vlm2vec

ROOT = Path(__file__).parent.parent
HEAVY = ("torch", "transformers", "sentence_transformers")
FORBIDDEN = ("torchvision", "torchcodec", "flash_attn", "cv2", "decord")


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
    assert f"## [{vlm2vec.__version__}] - " in changelog
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {vlm2vec.__version__}\n" in citation


def test_the_description_on_an_index_is_the_readme_without_links_into_the_repository() -> None:
    description = metadata.metadata("vlm2vec").get_payload()
    assert isinstance(description, str)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    headings = re.compile("^## .+$", re.M)
    assert headings.findall(description) == headings.findall(readme), "of an older README: install it again"
    targets = re.findall(r"\]\(([^)\s]+)", description)
    assert targets
    assert [target for target in targets if not target.startswith("https://")] == []


def test_names_that_go_are_gone_in_time() -> None:
    going, unsaid = [], []
    for path in (ROOT / "vlm2vec").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        found = re.findall(r"goes? in vlm2vec (\d+)\.(\d+)", text)
        going += [(path.name, (int(major), int(minor))) for major, minor in found]
        unsaid += [path.name] if "DeprecationWarning" in text and not found else []
    assert going
    assert unsaid == []
    now = tuple(map(int, vlm2vec.__version__.split(".")[:2]))
    assert [name for name, version in going if version <= now] == []


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


@pytest.mark.parametrize(
    ("name", "ends_with"), [("demo", "vlm2vec demo"), ("tests", "-m pytest -n 2 --dist loadfile")]
)
def test_the_readme_has_the_commands_that_ci_runs(name: str, ends_with: str) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (command,) = re.findall(rf"<!-- command: {name} -->\n```bash\n(.+)\n```", readme)
    assert command.startswith("python -m venv .venv && .venv/bin/pip install -c constraints.txt ")
    assert command.endswith(ends_with)
    assert (ROOT / ".ci" / "run").read_text(encoding="utf-8").count("readme_command tests") == 1


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_what_a_page_links_to_in_the_repository_is_there(name: str) -> None:
    page = (ROOT / name).read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)#\s]+)", page)
    assert [target for target in targets if "://" not in target and not (ROOT / target).exists()] == []
    assert targets
