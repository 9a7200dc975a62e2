"""Adapters are there when asked for, and an extra that is not installed is named."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import vlm2vec

ROOT = Path(__file__).parents[2]
ADAPTERS = sorted(
    path.stem
    for path in (Path(vlm2vec.__file__).parent / "integrations").iterdir()
    if path.stem not in ("__init__", "extra") and not path.stem.startswith(("_", "."))
)
# The first package that each needs, by the name with which it is imported.
NEEDED = {
    "chroma": "chromadb",
    "haystack": "haystack",
    "lancedb": "lancedb",
    "langchain": "langchain_core",
    "llamaindex": "llama_index",
    "mteb": "mteb",
    "ray": "ray",
}


def test_each_adapter_has_an_extra_of_its_name() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(ADAPTERS) <= set(project["optional-dependencies"])
    assert set(ADAPTERS) <= set(NEEDED)


@pytest.mark.parametrize("name", ADAPTERS)
def test_an_adapter_whose_package_is_not_installed_names_the_extra(name: str) -> None:
    code = f"""
import sys
sys.modules["{NEEDED[name]}"] = None
try:
    import vlm2vec.integrations.{name}
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert f'pip install ".[{name}]"' in done.stdout


def test_nothing_of_them_is_imported_with_the_package() -> None:
    code = f"""
import sys
import vlm2vec
vlm2vec.VLM2Vec
print([name for name in {sorted(NEEDED.values())} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
