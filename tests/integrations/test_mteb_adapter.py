"""The encoder for mteb: its own mock tasks pass, and vectors are those of `encode` for the same inputs."""

from __future__ import annotations

import io
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from torch.utils.data import DataLoader

from vlm2vec import VLM2Vec
from vlm2vec.encoding.ahead import Workers
from vlm2vec.errors import InputError, LimitError, MediaError
from vlm2vec.model import EMBEDDED_MODEL
from vlm2vec.world.captions import full_caption
from vlm2vec.world.clips import draw_clip, write_clip
from vlm2vec.world.pages import draw_page, render_pages

mteb = pytest.importorskip("mteb")

import datasets  # noqa: E402
from mteb._create_dataloaders import create_dataloader  # noqa: E402
from mteb.abstasks.retrieval import AbsTaskRetrieval  # noqa: E402
from mteb.abstasks.retrieval_dataset_loaders import RetrievalSplitData  # noqa: E402
from mteb.abstasks.task_metadata import TaskMetadata  # noqa: E402
from mteb.mocks import (  # noqa: E402
    ALL_MOCK_TASK_TEST_GRID,
    MockAny2AnyRetrievalT2ITask,
    MockInstructionRetrieval,
    MockRetrievalTask,
    MockSTSTask,
    MockVideoAudioClassification,
    MockVideoClassification,
    MockVisualSTSTask,
)
from mteb.models import CompressionWrapper  # noqa: E402
from mteb.models.models_protocols import EncoderProtocol  # noqa: E402
from mteb.results.task_result import TaskResult  # noqa: E402
from mteb.types import OutputDType, PromptType  # noqa: E402

from vlm2vec.integrations.mteb import MTEBEncoder  # noqa: E402

TEXTS = ["a red circle", "a blue square beside a green ring", "a page titled thunder", "a red circle"]
INSTRUCTION = "Find a picture of this."


@pytest.fixture(scope="module")
def encoder(embedded: VLM2Vec) -> MTEBEncoder:
    return MTEBEncoder(embedded)


@pytest.fixture(scope="module")
def pictures() -> list[PIL.Image.Image]:
    rng = np.random.default_rng(0)
    sizes = [(60, 90), (130, 70), (84, 84), (60, 90)]
    drawn = [PIL.Image.fromarray(rng.integers(0, 255, (*size, 3), np.uint8)) for size in sizes]
    return [*drawn[:3], drawn[0].convert("RGBA")]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    rng = np.random.default_rng(0)
    paths = [tmp_path_factory.mktemp("clips") / f"{number}.mp4" for number in range(3)]
    for path in paths:
        write_clip(draw_clip(rng), path)
    return paths


def vectors(
    encoder: MTEBEncoder, loader: Any, task: Any = MockSTSTask, side: str | None = None, **settings: Any
) -> np.ndarray:
    """What the encoder gives for a loader, or for rows."""
    if isinstance(loader, list):
        loader = DataLoader(datasets.Dataset.from_list(loader), batch_size=3)
    found: np.ndarray = encoder.encode(
        loader,
        task_metadata=task if isinstance(task, TaskMetadata) else task.metadata,
        hf_split="test",
        hf_subset="default",
        prompt_type=None if side is None else PromptType(side),
        **settings,
    )
    return found


def table(columns: dict[str, list[Any]], **features: Any) -> DataLoader[Any]:
    dataset = datasets.Dataset.from_dict(columns)
    for name, feature in features.items():
        dataset = dataset.cast_column(name, feature)
    return DataLoader(dataset, batch_size=2, collate_fn=list)


def png(picture: PIL.Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def assert_same(found: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=5e-7)


# The other side's own checks


@pytest.mark.slow
def test_all_mock_tasks_of_texts_images_and_videos_pass(encoder: MTEBEncoder) -> None:
    results = mteb.mock_run(encoder)
    modalities = set(encoder.mteb_model_meta.modalities)
    for task in ALL_MOCK_TASK_TEST_GRID:
        if set(task.metadata.modalities) <= modalities:
            assert isinstance(results[task.metadata.name], TaskResult), results[task.metadata.name]
    passed = {modality: status for status, modality, _ in results.modality_summary()}
    assert passed["audio"] == "skipped"
    assert all(passed[modality].startswith("✓") for modality in ("text", "image", "video"))


@pytest.mark.parametrize("task", [MockRetrievalTask, MockAny2AnyRetrievalT2ITask, MockVideoClassification])
def test_a_task_of_each_modality_is_evaluated(encoder: MTEBEncoder, task: Any) -> None:
    (result,) = mteb.evaluate(encoder, task(), cache=None, show_progress_bar=False).task_results
    assert np.isfinite(result.get_score())


def test_it_is_an_encoder_by_the_protocol(encoder: MTEBEncoder) -> None:
    assert isinstance(encoder, EncoderProtocol)


class Pages(AbsTaskRetrieval):
    """Document pages by what they say, as ViDoRe has them: a query is a text, a document an image."""

    metadata = TaskMetadata(
        name="Pages",
        description="Pages that were drawn for it.",
        dataset={"path": "none", "revision": "1"},
        type="DocumentUnderstanding",
        category="t2i",
        modalities=["text", "image"],
        eval_langs=["eng-Latn"],
        main_score="ndcg_at_5",
        prompt={"query": "Find a screenshot that is relevant to the user's question."},
    )

    def load_data(self, num_proc: int | None = None, **kwargs: Any) -> None:
        rng = np.random.default_rng(5)
        pages = [draw_page(rng) for _ in range(8)]
        images = [PIL.Image.fromarray(page) for page in render_pages(pages)]
        corpus = {"id": [f"d{number}" for number in range(8)], "image": images, "modality": ["image"] * 8}
        queries = {
            "id": [f"q{number}" for number in range(8)],
            "text": [full_caption(page) for page in pages],
        }
        self.dataset = {
            "default": {
                "test": RetrievalSplitData(
                    corpus=datasets.Dataset.from_dict(corpus).cast_column("image", datasets.Image()),
                    queries=datasets.Dataset.from_dict({**queries, "modality": ["text"] * 8}),
                    relevant_docs={f"q{number}": {f"d{number}": 1} for number in range(8)},
                    top_ranked=None,
                )
            }
        }
        self.data_loaded = True


def test_pages_are_found_in_a_task_of_documents_like_those_of_vidore(encoder: MTEBEncoder) -> None:
    (result,) = mteb.evaluate(encoder, Pages(), cache=None, show_progress_bar=False).task_results
    assert result.get_score() > 0.9


def test_benchmarks_of_the_recipe_are_there_with_tasks_of_that_type() -> None:
    sizes = {"ViDoRe(v1)": 10, "ViDoRe(v2)": 4, "ViDoRe(v3)": 10, "ViDoRe(v3.1)": 10}
    for name, size in sizes.items():
        tasks = mteb.get_benchmark(name).tasks
        assert len(tasks) == size
        assert {task.metadata.type for task in tasks} == {"DocumentUnderstanding"}


# Vectors


@pytest.mark.parametrize("side", [None, "query", "document"])
def test_vectors_of_texts_are_those_of_the_model_in_order(encoder: MTEBEncoder, side: str | None) -> None:
    model = encoder.model
    encode = {None: model.encode, "query": model.encode_query, "document": model.encode_document}[side]
    loader = create_dataloader(
        datasets.Dataset.from_dict({"id": list("abcd"), "text": TEXTS}),
        task_metadata=MockRetrievalTask.metadata,
        prompt_type=None if side is None else PromptType(side),
        batch_size=3,
        input_column="text",
    )
    assert_same(vectors(encoder, loader, MockRetrievalTask, side), encode(TEXTS))


def test_vectors_of_images_are_those_of_the_model(
    encoder: MTEBEncoder, pictures: list[PIL.Image.Image]
) -> None:
    expected = encoder.model.encode_document(pictures)
    assert_same(vectors(encoder, table({"image": pictures}), MockVisualSTSTask, "document"), expected)
    decoded = DataLoader(
        [{"image": one} for one in pictures], collate_fn=lambda rows: {"image": [rows[0]["image"]]}
    )
    assert_same(vectors(encoder, decoded, MockVisualSTSTask, "document"), expected)


def test_vectors_of_videos_are_those_of_the_files_and_of_tensors(
    encoder: MTEBEncoder, clips: list[Path]
) -> None:
    stored = table({"video": [path.read_bytes() for path in clips]}, video=datasets.Video())
    found = vectors(encoder, stored, MockVideoClassification)
    assert_same(found, encoder.model.encode(clips))
    frames = np.random.default_rng(0).integers(0, 255, (5, 3, 40, 60), np.uint8)
    in_memory: Any = DataLoader([{"video": frames}])
    tensor = next(iter(in_memory))["video"][0]
    assert tuple(tensor.shape) == (5, 3, 40, 60)
    assert_same(
        vectors(encoder, in_memory, MockVideoClassification), encoder.model.encode([{"video": tensor}])
    )


def test_media_that_a_dataset_names_by_path_are_read(
    encoder: MTEBEncoder, pictures: list[PIL.Image.Image], clips: list[Path], tmp_path: Path
) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for path, picture in zip(paths, pictures[:3], strict=True):
        picture.save(path)
    columns = {"image": [str(path) for path in paths], "video": [str(path) for path in clips]}
    loader = table(columns, image=datasets.Image(), video=datasets.Video())
    pairs = [{"image": image, "video": clip} for image, clip in zip(paths, clips, strict=True)]
    assert_same(vectors(encoder, loader), encoder.model.encode(pairs))


def test_rows_may_be_read_in_other_processes(encoder: MTEBEncoder, pictures: list[PIL.Image.Image]) -> None:
    dataset = datasets.Dataset.from_dict({"image": pictures}).cast_column("image", datasets.Image())
    loader: Any = DataLoader(dataset, batch_size=1, num_workers=2)
    assert_same(vectors(encoder, loader), encoder.model.encode(pictures))


def test_a_text_and_media_of_a_row_are_one_input_with_the_media_first(
    encoder: MTEBEncoder, pictures: list[PIL.Image.Image], clips: list[Path]
) -> None:
    columns = {
        "text": [*TEXTS[:2], "", None],
        "image": [png(picture) for picture in pictures[:3]] + [None],
        "video": [None, clips[0].read_bytes(), None, clips[1].read_bytes()],
    }
    loader = table(columns, image=datasets.Image(), video=datasets.Video())
    expected = encoder.model.encode(
        [
            {"image": pictures[0], "text": TEXTS[0]},
            {"image": pictures[1], "video": clips[0], "text": TEXTS[1]},
            pictures[2],
            clips[1],
        ],
        instruction=INSTRUCTION,
    )
    found = vectors(MTEBEncoder(encoder.model, prompts={"STS": INSTRUCTION}), loader)
    assert_same(found, expected)


def test_a_query_with_an_instruction_of_its_own_is_embedded_with_that(encoder: MTEBEncoder) -> None:
    queries = {
        "id": ["a", "b", "c"],
        "text": TEXTS[:3],
        "instruction": ["Find a drawing.", "", "Find a page with these words."],
    }
    loader = create_dataloader(
        datasets.Dataset.from_dict(queries),
        task_metadata=MockInstructionRetrieval.metadata,
        prompt_type=PromptType.query,
    )
    (batch,) = loader
    assert batch["text"][0] == "a red circle Find a drawing."  # as mteb joins the two
    given = ["Find a drawing.", encoder.model.prompts["query"], "Find a page with these words."]
    assert_same(
        vectors(encoder, loader, MockInstructionRetrieval, "query"),
        encoder.model.encode(TEXTS[:3], instruction=given),
    )


def test_the_role_reaches_models_that_write_queries_otherwise(
    tiny: VLM2Vec, monkeypatch: pytest.MonkeyPatch
) -> None:
    roles = []

    def stream(inputs: Any, *, task: str | None, **settings: Any) -> Any:
        roles.append(task)
        return VLM2Vec.encode_stream(tiny, inputs, task=task, **settings)

    monkeypatch.setattr(tiny, "encode_stream", stream)
    for side in (None, "query", "document"):
        vectors(MTEBEncoder(tiny), [{"text": "a cat"}], side=side)
    assert roles == [None, "query", "document"]


def test_prompts_are_chosen_in_the_order_of_mteb(embedded: VLM2Vec) -> None:
    task = MockRetrievalTask.metadata
    keys = [f"{task.name}-query", task.name, f"{task.type}-query", task.type, "query"]
    for first in range(len(keys) + 1):
        prompts = {key: f"Instruction for {key}." for key in keys[first:]}
        used = prompts[keys[first]] if prompts else embedded.prompts["query"]
        found = vectors(MTEBEncoder(embedded, prompts=prompts), [{"text": TEXTS[1]}], task, "query")
        assert_same(found, embedded.encode([TEXTS[1]], instruction=used))


def test_a_prompt_for_one_side_leaves_the_other_with_that_of_the_model(embedded: VLM2Vec) -> None:
    encoder = MTEBEncoder(embedded, prompts={"Retrieval-query": INSTRUCTION})
    found = vectors(encoder, [{"text": TEXTS[0]}], MockRetrievalTask, "document")
    assert_same(found, embedded.encode_document(TEXTS[:1]))
    without = MTEBEncoder(embedded, prompts={"document": ""})
    assert_same(
        vectors(without, [{"text": TEXTS[0]}], MockRetrievalTask, "document"), embedded.encode(TEXTS[:1])
    )


def test_long_texts_are_shortened_unless_refused(encoder: MTEBEncoder) -> None:
    rows = [{"text": "a red circle " * 5000}, {"text": "a cat"}]
    expected = encoder.model.encode([row["text"] for row in rows], truncate=True)
    assert_same(vectors(encoder, rows), expected)
    with pytest.raises(LimitError, match="input 0"):
        vectors(MTEBEncoder(encoder.model, truncate=False), rows)


def test_an_empty_text_is_embedded_as_a_blank(encoder: MTEBEncoder) -> None:
    found = vectors(encoder, [{"text": ""}, {"text": "a cat"}], MockRetrievalTask, "document")
    blank = {"text": " ", "instruction": encoder.model.prompts["document"]}
    assert_same(found, encoder.model.encode([blank, "a cat"], instruction=encoder.model.prompts["document"]))


def test_a_text_that_names_a_file_is_a_text(encoder: MTEBEncoder, clips: list[Path]) -> None:
    assert_same(vectors(encoder, [{"text": str(clips[0])}]), encoder.model.encode([str(clips[0])]))


def test_precision_is_that_of_the_model_over_the_whole_call(encoder: MTEBEncoder) -> None:
    rows = [{"text": f"{number} red circles"} for number in range(7)]
    for precision in ("int8", "uint8"):
        expected = encoder.model.encode([row["text"] for row in rows], precision=precision)
        found = vectors(encoder, rows, precision=precision)
        np.testing.assert_array_equal(found, expected)
        floats = expected.astype(np.float32)
        np.testing.assert_array_equal(
            encoder.similarity(found, found), encoder.model.similarity(floats, floats)
        )
    with pytest.raises(InputError, match="CompressionWrapper"):
        vectors(encoder, rows, precision="binary")


@pytest.mark.parametrize("task", [MockSTSTask, MockRetrievalTask])
def test_quantized_vectors_are_evaluated(encoder: MTEBEncoder, task: Any) -> None:
    settings = {"precision": "int8"}
    (result,) = mteb.evaluate(
        encoder, task(), cache=None, show_progress_bar=False, encode_kwargs=settings
    ).task_results
    assert np.isfinite(result.get_score())
    compressed = CompressionWrapper(MTEBEncoder(encoder.model), OutputDType.BINARY)
    (result,) = mteb.evaluate(compressed, task(), cache=None, show_progress_bar=False).task_results
    assert np.isfinite(result.get_score())


def test_truncated_vectors_are_the_first_components(embedded: VLM2Vec) -> None:
    encoder = MTEBEncoder(embedded, truncate_dim=32)
    found = vectors(encoder, [{"text": text} for text in TEXTS])
    assert_same(found, embedded.encode(TEXTS, truncate_dim=32))
    assert encoder.mteb_model_meta.embed_dim == 32


def test_no_rows_have_no_vectors(encoder: MTEBEncoder) -> None:
    assert vectors(encoder, DataLoader(datasets.Dataset.from_dict({"text": []}))).shape == (0, 224)


def test_similarities_are_those_of_the_model(encoder: MTEBEncoder) -> None:
    first, second = encoder.model.encode(TEXTS), encoder.model.encode(TEXTS[::-1])
    np.testing.assert_array_equal(encoder.similarity(first, second), encoder.model.similarity(first, second))
    np.testing.assert_array_equal(
        encoder.similarity_pairwise(first, second), encoder.model.similarity_pairwise(first, second)
    )


# Batches and progress


def test_batches_are_those_of_the_token_budget(encoder: MTEBEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    prepared = Workers.prepared

    def counted(self: Any, batches: Any, preparer: Any) -> Any:
        for cost, batch in prepared(self, batches, preparer):
            sizes.append(len(batch))
            yield cost, batch

    monkeypatch.setattr(Workers, "prepared", counted)
    rows = [{"text": f"a cat and {number} dogs"} for number in range(12)]
    vectors(encoder, rows, batch_size=2)
    assert max(sizes) == 12
    sizes.clear()
    vectors(encoder, rows, batch_size=32, max_tokens_per_batch=60)
    assert max(sizes) < 12


def test_progress_is_shown_unless_mteb_says_otherwise(
    encoder: MTEBEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = []

    def bar(stream: Any, *, total: int, **settings: Any) -> Any:
        shown.append(total)
        return stream

    monkeypatch.setattr("vlm2vec.integrations.mteb.tqdm", bar)
    vectors(encoder, [{"text": text} for text in TEXTS], show_progress_bar=False)
    vectors(encoder, [{"text": text} for text in TEXTS])
    assert shown == [4]


def test_the_log_says_which_instruction_is_used(
    encoder: MTEBEncoder, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="vlm2vec.integrations.mteb"):
        vectors(encoder, [{"text": "a cat"}], MockRetrievalTask, "query")
    assert "MockRetrievalTask" in caplog.text
    assert encoder.model.prompts["query"] in caplog.text


# What results say


def test_results_name_the_model_and_its_revision(embedded: VLM2Vec, tmp_path: Path) -> None:
    encoder, cache = MTEBEncoder(embedded), mteb.ResultCache(tmp_path)
    mteb.evaluate(encoder, MockSTSTask(), cache=cache, show_progress_bar=False)
    (saved,) = (tmp_path / "results").rglob("MockSTSTask.json")
    assert saved.parent.parent.name == "vlm2vec__embedded"
    assert saved.parent.name == encoder.mteb_model_meta.revision
    meta = json.loads((saved.parent / "model_meta.json").read_text())
    assert meta["name"] == "vlm2vec/embedded"
    assert meta["modalities"] == ["text", "image", "video"]
    assert (meta["embed_dim"], meta["max_tokens"], meta["similarity_fn_name"]) == (224, 4096, "cosine")
    assert meta["n_parameters"] == sum(weight.numel() for weight in embedded.parameters())
    assert meta["license"] is meta["languages"] is meta["training_datasets"] is None


def test_results_of_the_same_model_are_not_computed_again(
    embedded: VLM2Vec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = mteb.ResultCache(tmp_path)
    first = mteb.evaluate(MTEBEncoder(embedded), MockSTSTask(), cache=cache, show_progress_bar=False)
    monkeypatch.setattr(MTEBEncoder, "encode", None)
    again = mteb.evaluate(MTEBEncoder(VLM2Vec()), MockSTSTask(), cache=cache, show_progress_bar=False)
    assert again.task_results[0].get_score() == pytest.approx(first.task_results[0].get_score())


def test_runs_with_other_prompts_or_widths_are_kept_apart(embedded: VLM2Vec, tmp_path: Path) -> None:
    cache = mteb.ResultCache(tmp_path)
    settings: list[dict[str, Any]] = [{}, {"prompts": {"STS": INSTRUCTION}}, {"truncate_dim": 8}]
    for each in settings:
        mteb.evaluate(MTEBEncoder(embedded, **each), MockSTSTask(), cache=cache, show_progress_bar=False)
    assert len(list((tmp_path / "results").rglob("MockSTSTask.json"))) == 3


def test_the_revision_of_a_local_model_is_that_of_its_weights(tmp_path: Path) -> None:
    model = VLM2Vec(device="cpu")
    model.save(str(tmp_path / "mine"))
    saved = MTEBEncoder(tmp_path / "mine").mteb_model_meta
    assert (saved.name, saved.reference, saved.loader) == ("local/mine", None, None)
    assert saved.revision == MTEBEncoder(model).mteb_model_meta.revision
    pairs = [{"query": "a flim", "document": "a red circle"}, {"query": "a blat", "document": "a cross"}]
    model.fit(pairs, max_steps=1, show_progress_bar=False)
    trained = MTEBEncoder(model).mteb_model_meta
    assert trained.name == "local/model"
    assert trained.revision != saved.revision


def test_a_model_of_the_hub_has_its_name_and_commit(golden: Path, tmp_path: Path) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "models--somebody--tiny"
    (repository / "snapshots").mkdir(parents=True)
    (repository / "snapshots" / commit).symlink_to(golden / "tiny_qwen2vl", target_is_directory=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    model = VLM2Vec("somebody/tiny", profile="vlm2vec-v2", device="cpu", cache_folder=str(tmp_path))
    meta = MTEBEncoder(model).mteb_model_meta
    assert (meta.name, meta.revision) == ("somebody/tiny", commit)
    assert meta.reference == "https://huggingface.co/somebody/tiny"
    assert meta.loader is MTEBEncoder
    named = MTEBEncoder(model, "step-500", name="me/mine").mteb_model_meta
    assert (named.name, named.revision) == ("me/mine", "step-500")


def test_mteb_loads_it_with_the_arguments_that_results_name(encoder: MTEBEncoder) -> None:
    meta = MTEBEncoder(encoder.model, prompts={"STS": INSTRUCTION}, truncate_dim=8).mteb_model_meta
    # As `ModelMeta.load_model` calls its loader.
    loaded = MTEBEncoder(str(EMBEDDED_MODEL), revision=meta.revision, **meta.experiment_kwargs, device="cpu")
    assert loaded.mteb_model_meta == meta


def test_a_model_may_be_a_folder(encoder: MTEBEncoder) -> None:
    loaded = MTEBEncoder(str(EMBEDDED_MODEL), device="cpu")
    assert_same(vectors(loaded, [{"text": "a cat"}]), encoder.model.encode(["a cat"]))


# What is refused


def test_audio_is_refused(encoder: MTEBEncoder) -> None:
    with pytest.raises(ValueError, match="audio"):
        mteb.evaluate(encoder, MockVideoAudioClassification(), cache=None, show_progress_bar=False)
    sound = {"array": np.zeros(9, np.float32), "sampling_rate": 16_000}
    loader = DataLoader([{"audio": sound}], collate_fn=lambda rows: {"audio": [row["audio"] for row in rows]})
    with pytest.raises(InputError, match="audio, which is not supported"):
        vectors(encoder, loader)


def test_other_columns_alone_are_refused(encoder: MTEBEncoder) -> None:
    with pytest.raises(InputError, match="columns sentence1"):
        vectors(encoder, [{"sentence1": "a cat"}])


@pytest.mark.parametrize("name", ["truncate_dim", "on_error", "prompts", "normalize_embeddings"])
def test_what_would_change_vectors_is_no_argument_of_a_call(encoder: MTEBEncoder, name: str) -> None:
    with pytest.raises(InputError, match=f"encode_kwargs has {name}"):
        vectors(encoder, [{"text": "a cat"}], **{name: None})


def test_an_unknown_precision_is_refused_before_any_work(encoder: MTEBEncoder) -> None:
    with pytest.raises(InputError, match="precision"):
        vectors(encoder, [{"text": ""}], precision="float8")


def test_a_string_in_a_column_of_media_is_not_opened(encoder: MTEBEncoder, clips: list[Path]) -> None:
    with pytest.raises(InputError, match="the column video holds strings"):
        vectors(encoder, [{"video": str(clips[0])}])


def test_a_damaged_image_ends_the_task_and_is_named(encoder: MTEBEncoder) -> None:
    good = png(PIL.Image.new("RGB", (40, 40)))
    loader = table({"image": [good, good[:60]]}, image=datasets.Image())
    with pytest.raises(MediaError, match="input 1"):
        vectors(encoder, loader)


@pytest.mark.parametrize("prompts", ["Find it.", {"STS": None}, {1: "Find it."}])
def test_prompts_are_strings_by_name(embedded: VLM2Vec, prompts: Any) -> None:
    with pytest.raises(InputError, match="prompts is"):
        MTEBEncoder(embedded, prompts=prompts)


def test_arguments_that_have_no_effect_are_refused(embedded: VLM2Vec) -> None:
    with pytest.raises(InputError, match="device is given beside a model"):
        MTEBEncoder(embedded, device="cpu")
    with pytest.raises(InputError, match="the model is"):
        MTEBEncoder(None)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="truncate_dim"):
        MTEBEncoder(embedded, truncate_dim=4096)


@pytest.mark.parametrize("key", ["Retreival-query", "querry", "STS12345", "STS-documents"])
def test_a_key_of_prompts_that_no_task_looks_up_is_refused(key: str, embedded: VLM2Vec) -> None:
    with pytest.raises(InputError, match=f'prompts has the key "{key}", which no task looks up'):
        MTEBEncoder(embedded, prompts={"query": INSTRUCTION, key: INSTRUCTION})
    keys = ("query", "STS", "Retrieval-document", "STS12", "STS12-query")
    MTEBEncoder(embedded, prompts=dict.fromkeys(keys, INSTRUCTION))
