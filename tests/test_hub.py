"""Pushing to the hub and loading from it, against a stand-in for its API on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_stand_in import HubStandIn

PUSH_AND_LOAD = """
import sys
import numpy as np
from vlm2vec import VLM2Vec
VLM2Vec(sys.argv[1], profile="vlm2vec-v2", device="cpu").save(sys.argv[2])  # with a card that knows no name
model = VLM2Vec(sys.argv[2], device="cpu")
url = model.push_to_hub("somebody/tiny")
assert url.endswith("/somebody/tiny/commit/0123456789abcdef0123456789abcdef01234567"), url
texts = ["a cat", "a dog"]
again = VLM2Vec("somebody/tiny", device="cpu")
np.testing.assert_allclose(again.encode(texts), model.encode(texts), atol=1e-6)
assert again.profile == model.profile
print("same vectors")
"""

PUSH_TWICE = """
import sys
from vlm2vec import VLM2Vec
model = VLM2Vec(sys.argv[1], profile="vlm2vec-v2", device="cpu")
rows = [{"query": name, "document": f"a photo of {name}"} for name in ("a cat", "a dog")]
model.fit(rows, max_steps=1, eval=rows, show_progress_bar=False)
model.push_to_hub("somebody/trained")
again = VLM2Vec("somebody/trained", device="cpu")
again.push_to_hub("others/copied")
again.fit({"more": rows}, max_steps=1, show_progress_bar=False)
again.push_to_hub("others/further")
"""

LOAD_PUBLISHED = """
import os
import sys
from pathlib import Path
from vlm2vec import VLM2Vec, errors
cache = Path(os.environ["HF_HOME"], "elsewhere")
model = VLM2Vec("VLM2Vec/VLM2Vec-V2.0", base_model="Qwen/tiny", device="cpu", cache_folder=str(cache))
assert {"models--VLM2Vec--VLM2Vec-V2.0", "models--Qwen--tiny"} <= {found.name for found in cache.iterdir()}
assert model.profile.name == "vlm2vec-v2"
local = VLM2Vec(Path(sys.argv[1]) / "tiny_adapter_dora", profile="vlm2vec-v2", device="cpu")
assert (model.encode("a cat") == local.encode("a cat")).all()
try:
    VLM2Vec("somebody/nothing", profile="vlm2vec-v2", device="cpu")
except (errors.CheckpointError, OSError) as error:
    print(error)
"""


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[tuple[HubStandIn, dict[str, str]]]:
    """The stand-in, and an environment that takes it for the hub."""
    with HubStandIn().serving() as hub:
        environment = {
            **os.environ,
            "HF_ENDPOINT": hub.url,
            "HF_HUB_OFFLINE": "0",
            "HF_HOME": str(tmp_path / "home"),
            "HF_TOKEN": "hf_stand_in",
            "NO_PROXY": "127.0.0.1",
        }
        yield hub, environment


def run(script: str, *arguments: Path, environment: dict[str, str]) -> str:
    command = [sys.executable, "-c", script, *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_push_and_load(hub: tuple[HubStandIn, dict[str, str]], golden: Path, tmp_path: Path) -> None:
    stand_in, environment = hub
    folders = golden / "tiny_qwen2vl", tmp_path / "saved"
    assert "same vectors" in run(PUSH_AND_LOAD, *folders, environment=environment)
    uploaded = set(stand_in.files("somebody/tiny"))
    card = stand_in.files("somebody/tiny")["README.md"].decode()
    assert 'VLM2Vec("somebody/tiny")' in card
    assert "this/folder" not in card
    assert "sentence_transformers_model_id" not in card
    assert {
        "modules.json",
        "model.safetensors",
        "vlm2vec.json",
        "chat_template.jinja",
        "README.md",
    } <= uploaded


@pytest.mark.slow
def test_cards_name_where_they_were_pushed_to(
    hub: tuple[HubStandIn, dict[str, str]], golden: Path, tmp_path: Path
) -> None:
    stand_in, environment = hub
    run(PUSH_TWICE, golden / "tiny_qwen2vl", environment=environment)
    cards = {
        name: stand_in.files(name)["README.md"].decode()
        for name in ("somebody/trained", "others/copied", "others/further")
    }
    for name, card in cards.items():
        assert f'VLM2Vec("{name}")' in card
        assert "this/folder" not in card
        assert str(golden) not in card
        assert f"\n# {name.partition('/')[2]}\n" in card
    assert cards["others/copied"] == (
        cards["somebody/trained"]
        .replace('"somebody/trained"', '"others/copied"')
        .replace("\n# trained\n", "\n# copied\n")
    )
    further = cards["others/further"]
    assert "base_model: somebody/trained" in further
    assert "trained from [somebody/trained](https://huggingface.co/somebody/trained) on" in further
    assert "### Run 1" in further
    assert "### Run 2" in further
    assert "base_model" not in cards["somebody/trained"]


@pytest.mark.slow
def test_a_published_adapter_and_its_base_are_downloaded(
    hub: tuple[HubStandIn, dict[str, str]], golden: Path
) -> None:
    stand_in, environment = hub
    for name, folder in (("VLM2Vec/VLM2Vec-V2.0", "tiny_adapter_dora"), ("Qwen/tiny", "tiny_qwen2vl")):
        stand_in.put(name, {file.name: file.read_bytes() for file in (golden / folder).iterdir()})
    assert "somebody/nothing" in run(LOAD_PUBLISHED, golden, environment=environment)
