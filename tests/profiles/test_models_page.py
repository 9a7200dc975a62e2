"""The pages on models and families say what the code says."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

from vlm2vec.backbones.stock import qwen3_5
from vlm2vec.profiles import unime_v2_qwen2vl

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_of_models_is_what_the_profiles_say() -> None:
    """If it is not: `python docs/make_models.py`."""
    made = runpy.run_path(str(DOCS / "make_models.py"))["page"]()
    assert made == (DOCS / "models.md").read_text(encoding="utf-8")


def test_the_example_of_a_family_is_the_file_it_names() -> None:
    page = (DOCS / "add_a_family.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)[:1]
    assert shown == Path(unime_v2_qwen2vl.__file__).read_text(encoding="utf-8")


def test_the_example_of_a_network_is_the_file_it_names() -> None:
    page = (DOCS / "add_a_family.md").read_text(encoding="utf-8")
    shown = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert Path(qwen3_5.__file__).read_text(encoding="utf-8") in shown
