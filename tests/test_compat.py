"""One test for each private name of sentence-transformers or transformers that the package touches."""

from __future__ import annotations

import copy
import inspect
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer.trainer import SentenceTransformerTrainer
from sentence_transformers.sentence_transformer.training_args import SentenceTransformerTrainingArguments
from transformers import BertConfig, BertModel, BertTokenizerFast, Qwen2VLModel

from vlm2vec import VLM2Vec
from vlm2vec.blocks.attention import PACKED_ATTENTION
from vlm2vec.compat import STOCK_INPUT_MODULE, HookedTrainer, flag_adapters


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Transformer:
    """sentence-transformers' own input module, around a tiny BERT."""
    folder = tmp_path_factory.mktemp("bert")
    config = BertConfig(
        vocab_size=8, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8
    )
    BertModel(config).save_pretrained(folder)
    vocabulary = folder / "vocab.txt"
    vocabulary.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "c"]))
    BertTokenizerFast(vocab_file=str(vocabulary)).save_pretrained(folder)
    return Transformer(str(folder))


def test_the_input_module_has_every_attribute_that_the_stock_one_sets(
    tiny: VLM2Vec, stock: Transformer
) -> None:
    # What these three serve is overridden: calling the processor and formatting its input.
    overridden = {"input_formatter", "_declared_forward_params", "model_forward_params"}
    caches = {"_method_signature_cache", "_chat_template_suffix_cache"}
    assert set(vars(stock)) - set(vars(tiny[0])) <= overridden | caches


def test_the_stock_module_is_known_under_the_name_that_folders_carry(
    tmp_path: Path, stock: Transformer
) -> None:
    SentenceTransformer(modules=[stock], device="cpu").save(str(tmp_path), create_model_card=False)
    assert json.loads((tmp_path / "modules.json").read_text())[0]["type"] == STOCK_INPUT_MODULE


@pytest.mark.parametrize(
    "name",
    [
        "_load_default_modules",
        "_load_config_modules",
        "_load_module_class_from_ref",
        "_get_module_init_defaults",
        "_inference",
        "_multi_process_worker",
        "_multi_process",
        "_get_worker_result",
        "_resolve_inference_device",
        "_update_default_model_id",
    ],
)
def test_the_hook_is_there(name: str) -> None:
    assert callable(getattr(SentenceTransformer, name))


def test_encode_calls_inference_with_the_settings_we_read() -> None:
    settings = inspect.signature(SentenceTransformer._inference).parameters
    assert {
        "inputs", "prompt", "batch_size", "show_progress_bar", "output_value", "save_to_cpu",
        "normalize_embeddings", "truncate_dim", "device",
    } <= set(settings)  # fmt: skip


def test_load_default_modules_is_called_with_names_we_take() -> None:
    ours = set(inspect.signature(VLM2Vec._load_default_modules).parameters)
    assert set(inspect.signature(SentenceTransformer._load_default_modules).parameters) <= ours


def test_what_becomes_of_each_argument_of_sentence_transformers_is_known() -> None:
    """A new one would be passed on without a look. `tests/test_model.py` has those that are refused."""
    refused = {"config_kwargs", "backend"}
    works = {
        "processor_kwargs",
        "self", "model_name_or_path", "modules", "device", "prompts", "default_prompt_name", "cache_folder",
        "trust_remote_code", "revision", "local_files_only", "token", "use_auth_token", "model_kwargs",
        "model_card_data", "similarity_fn_name", "truncate_dim",
    }  # fmt: skip
    assert set(inspect.signature(SentenceTransformer.__init__).parameters) == refused | works


def test_saved_folders_load_through_the_class_hook(tiny: VLM2Vec, tmp_path: Path) -> None:
    tiny.save(str(tmp_path))
    assert type(VLM2Vec(tmp_path, device="cpu")[0]) is VLM2Vec.input_module_class


def test_both_towers_use_the_packed_attention(tiny: VLM2Vec) -> None:
    config = tiny[0].model.config
    assert config.text_config._attn_implementation == PACKED_ATTENTION
    assert config.vision_config._attn_implementation == PACKED_ATTENTION


def test_the_public_way_to_set_attention_does_not_take_the_name(golden: Path) -> None:
    network = Qwen2VLModel.from_pretrained(golden / "tiny_qwen2vl")
    with pytest.raises(ValueError, match="flash attention implementation"):
        network.set_attn_implementation(PACKED_ATTENTION)


def test_the_attention_in_use_is_not_saved(tiny: VLM2Vec, tmp_path: Path) -> None:
    tiny.save(str(tmp_path))
    assert PACKED_ATTENTION not in (tmp_path / "config.json").read_text()


def test_transformers_is_told_of_adapters_by_the_flag_that_it_reads(tiny: VLM2Vec) -> None:
    assert Qwen2VLModel._hf_peft_config_loaded is False
    network = copy.deepcopy(tiny[0].model)
    for config, expected in (({"default": None}, True), ({}, False)):
        network.peft_config = config
        flag_adapters(network)
        assert network._hf_peft_config_loaded is expected


ABANDONED = """
import os, signal
from vlm2vec import VLM2Vec

if __name__ == "__main__":
    model = VLM2Vec(device="cpu")
    pool = model.start_multi_process_pool(["cpu"])
    model.encode(["a text"], pool=pool)
    print(pool["processes"][0].pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_a_worker_ends_when_the_process_that_started_it_is_killed(tmp_path: Path) -> None:
    script, root = tmp_path / "script.py", Path(__file__).parent.parent
    script.write_text(ABANDONED, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    # The worker holds the pipes as well: this returns once it has ended.
    ended = subprocess.run(
        [sys.executable, str(script)],
        check=False,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == -signal.SIGKILL
    assert int(ended.stdout) > 0


def test_a_prompt_is_resolved_by_name_or_default() -> None:
    parameters = list(inspect.signature(SentenceTransformer._resolve_prompt).parameters)
    assert parameters == ["self", "prompt", "prompt_name"]
    model = VLM2Vec(device="cpu", prompts={"mine": "Say: "}, default_prompt_name="mine")
    assert model.resolved_prompt(None, None) == "Say: "
    assert model.resolved_prompt("own", None) == "own"
    with pytest.raises(ValueError, match="unknown"):
        model.resolved_prompt(None, "unknown")


@pytest.mark.parametrize("name", ["_save", "_save_checkpoint", "_load_from_checkpoint"])
def test_the_hook_of_the_trainer_takes_what_we_pass(name: str) -> None:
    ours, stock = (
        list(inspect.signature(getattr(each, name)).parameters)
        for each in (HookedTrainer, SentenceTransformerTrainer)
    )
    assert ours == stock


def test_the_device_of_a_process_can_be_set(tmp_path: Path) -> None:
    arguments = SentenceTransformerTrainingArguments(output_dir=str(tmp_path), use_cpu=True)
    assert arguments.distributed_state.device == arguments.device == torch.device("cpu")
    arguments._setup_devices = torch.device("cuda", 3)
    assert arguments.device == torch.device("cuda", 3)


def test_a_model_can_be_prepared_without_a_wrapper() -> None:
    assert "evaluation_mode" in inspect.signature(Accelerator.prepare_model).parameters


def test_cards_of_models_without_a_name_carry_the_placeholder_that_is_replaced(
    stock: Transformer, tmp_path: Path
) -> None:
    model = SentenceTransformer(modules=[stock], device="cpu")
    model.save(str(tmp_path))
    assert f'SentenceTransformer("{model._model_card_model_id_placeholder}"' in (
        tmp_path / "README.md"
    ).read_text(encoding="utf-8")
