"""The card of a model, README.md of its folder: sentence-transformers' data, in a template of our own.

What was trained stays known when a model is saved and loaded again: a card of ours is kept as it is but for
how to use it, and a further training adds its run to those that the card tells of.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from huggingface_hub import ModelCard
from jinja2 import Environment, PackageLoader, StrictUndefined
from sentence_transformers.sentence_transformer.model_card import SentenceTransformerModelCardData

from vlm2vec._version import __version__
from vlm2vec.checkpoints.adapter import has_adapter
from vlm2vec.checkpoints.load import EMBEDDED_MODEL
from vlm2vec.encoding.saved_folder import opens_in_sentence_transformers, what_plain_code_lacks

if TYPE_CHECKING:
    from vlm2vec.profiles import Profile

__all__ = ["NO_NAME", "RunSource", "TrainingRun", "VLM2VecModelCardData", "usage", "with_usage"]

NO_NAME = "this/folder"
"""What a card calls a model that has no name on the hub."""

_TEMPLATE = Path(__file__).with_name("assets") / "card" / "card.md"
_USAGE = "## Use with vlm2vec"
_DATA_SETS = "https://huggingface.co/datasets/"
_FIRST_SOURCES = 5  # of many, that a sentence names

_UNSET: Mapping[str, Any] = {"eval_metrics": [], "eval_lines": ""}  # where nothing was evaluated

# In cards of our own, which these lines write.
_LOADED_FROM = re.compile(r"as it was loaded from (.+?), without further training")
_BASE = re.compile(r"^\| Base \| (.+) \|$", re.MULTILINE)
_RUN = re.compile(r"^### Run \d+\n", re.MULTILINE)
_CITED = re.compile(r"^@\w+\{(\w+),", re.MULTILINE)

# Scores of sentence-transformers' evaluators, as they are known.
_SCORE = re.compile(r"(?:(?P<of>.+)_)?(?:cosine|dot|euclidean|manhattan)_(?P<metric>[a-z]+)@(?P<k>\d+)")
_METRICS = {
    "accuracy": "Hit",
    "precision": "Precision",
    "recall": "Recall",
    "ndcg": "NDCG",
    "mrr": "MRR",
    "map": "MAP",
}


@dataclass(frozen=True)
class RunSource:
    """Rows that a model was trained on.

    Attributes:
        name: What the run calls them.
        rows: How many there are.
        share: Their part of all draws, from 0 to 1.
        homepage: Where they are published.
    """

    name: str
    rows: int
    share: float
    homepage: str = ""

    def __str__(self) -> str:
        if self.homepage:
            return f"[{self.name}]({self.homepage})"
        # What rows without a name are called says nothing.
        return f"{self.rows:,} rows" if self.name == "train" else f"{self.name} ({self.rows:,} rows)"


@dataclass(frozen=True)
class TrainingRun:
    """What a card tells of one training, as far as it has come.

    Attributes:
        sources: What it was trained on.
        steps: Optimizer steps of the whole run.
        what_learned: All weights, or an adapter of some kind, in words.
        settings: Lines of a table.
        evaluated_on: What scores are of, in words.
        papers: Keys of `assets/card/citations.bib`.
        base: What was trained, in words.
        step: Steps that were made.
        scores: Of each evaluation, its step and scores by name.
        kept_step: The step whose weights these are, where the best ones were kept.
        seconds: So far; `None` where a run went on from a checkpoint.
    """

    sources: tuple[RunSource, ...]
    steps: int
    what_learned: str
    settings: tuple[tuple[str, str], ...]
    evaluated_on: str = ""
    papers: tuple[str, ...] = ()
    base: str = ""
    step: int = 0
    scores: tuple[tuple[int, Mapping[str, float]], ...] = ()
    kept_step: int | None = None
    seconds: float | None = None

    @property
    def kept_scores(self) -> Mapping[str, float]:
        """Those of the weights that were kept, or the last ones."""
        return dict(self.scores).get(self.kept_step, self.scores[-1][1] if self.scores else {})  # type: ignore[arg-type]

    def __str__(self) -> str:
        """A section of the card."""
        chosen = [*self.scores[:1], *self.scores[1:][-1:]]
        if self.kept_step not in (None, *(step for step, _ in chosen)):
            chosen[1:1] = [(step, scores) for step, scores in self.scores if step == self.kept_step]
        columns = ["before" if step == 0 else f"step {step:,}" for step, _ in chosen]
        named = {name: _score_name(name) for name in (chosen[-1][1] if chosen else ())}
        table = [
            (label, [f"{scores[name]:.4f}" if name in scores else "" for _, scores in chosen])
            for name, label in named.items()
            if label
        ]
        text = _templates().get_template("run.md").render(run=self, columns=columns, scores=table)
        return text.strip()


@dataclass
class VLM2VecModelCardData(SentenceTransformerModelCardData):  # type: ignore[misc]
    """What the card of a model says: as in sentence-transformers, with other defaults and a template of ours.

    `model.model_card_data.license = "apache-2.0"` and the like may be set before a model is saved; a licence
    is never taken from elsewhere.

    Attributes:
        base: What the weights are from, in Markdown; no path of this machine.
        runs: Trainings since, oldest first; those of an earlier card as text.
        papers: Keys of `assets/card/citations.bib` beside those of the runs.

    Example:
        >>> from vlm2vec import VLM2Vec
        >>> model = VLM2Vec(model_card_data=VLM2VecModelCardData(license="mit", language="en"))
        >>> model.model_card_data.base
        'the small model inside `vlm2vec`'
    """

    if TYPE_CHECKING:  # what is read and set here of its fields
        base_model: str | list[str] | None
        base_model_revision: str | None
        datasets: list[str]
        eval_results_dict: dict[Any, dict[str, Any]]
        language: list[str]
        license: str | None
        model_id: str | None
        model_name: str | None
        train_datasets: list[dict[str, Any]]
        training_logs: list[dict[str, Any]]

    task_name: str = "search among texts, images, videos and PDF pages, classification, clustering"
    tags: list[str] = field(
        default_factory=lambda: [
            *("sentence-transformers", "sentence-similarity", "feature-extraction", "dense", "vlm2vec"),
            *("multimodal", "text", "image", "video", "visual-document-retrieval"),
        ]
    )
    generate_widget_examples: bool = False  # saving embeds nothing
    template_path: Path = field(default=_TEMPLATE, init=False, repr=False)
    base: str = field(default="", init=False)
    runs: list[TrainingRun | str] = field(default_factory=list, init=False)
    papers: tuple[str, ...] = field(default=("reimers2019sentencebert", "jiang2025vlm2vec"), init=False)

    @classmethod
    def of(cls, given: SentenceTransformerModelCardData | None, *, local: bool) -> VLM2VecModelCardData:
        """What a user passes, which may be sentence-transformers' own.

        Args:
            given: Its settings are taken over; `None` for the defaults.
            local: Whether the model is a folder of this machine, which the hub is not asked about.
        """
        if isinstance(given, cls):
            return given
        if given is None:
            return cls(local_files_only=local)
        stock = type(given)(local_files_only=True)
        settings = {each.name: getattr(given, each.name) for each in fields(given) if each.init}
        # Defaults are ours where they were left as they are.
        settings = {name: value for name, value in settings.items() if value != getattr(stock, name)}
        return cls(**{**settings, "local_files_only": local or given.local_files_only})

    def register_model(self, model: Any) -> None:
        """Note what the model was loaded from, and what its card says of that."""
        super().register_model(model)
        if self.base:
            return
        name, card = str(model[0].model.name_or_path), model.loaded_card or ""
        # A name alone may be that of a folder which is gone.
        repository = _cached_repository(model[0].folders)
        if name == str(EMBEDDED_MODEL):
            self.base = "the small model inside `vlm2vec`"
        elif repository:
            self.base_model = self.base_model or repository
            self.base_model_revision = self.base_model_revision or model[0].revision
            self.base = f"[{repository}](https://huggingface.co/{repository})"
        else:
            self.base = "weights of a local folder"
        if _USAGE in card:
            self._take_over(card, is_own=not repository)

    def _take_over(self, card: str, *, is_own: bool) -> None:
        """What an earlier card of ours says: of a local folder all of it, of a repository its trainings."""
        said: dict[str, Any] = ModelCard(card, ignore_metadata_errors=True).data.__dict__
        self.runs = _runs(card)
        self.papers = tuple(dict.fromkeys([*self.papers, *_CITED.findall(card)]))
        self.datasets = self.datasets or list(said.get("datasets") or [])
        self.language = self.language or _listed(said.get("language"))
        if is_own:
            self.license = self.license or said.get("license")
            self.base_model = self.base_model or said.get("base_model")
            self.add_tags([tag for tag in said.get("tags") or [] if tag != "generated_from_trainer"])
            if base := _BASE.search(card) or _LOADED_FROM.search(card):
                self.base = base[1]

    def start_run(self, run: TrainingRun) -> None:
        """A training begins; what was evaluated before is of other weights."""
        self.runs = [one for one in self.runs if isinstance(one, str) or one.step]
        base = f"the model after run {len(self.runs)}" if self.runs else self.base
        self.runs.append(replace(run, base=base))
        known = {one.get("name"): one for one in self.train_datasets}
        self.train_datasets = [
            {"name": source.name, "size": source.rows, **_data_set(source), **known.get(source.name, {})}
            for source in run.sources
        ]
        ids = [one["id"] for one in self.train_datasets if "id" in one]
        self.datasets = list(dict.fromkeys([*self.datasets, *ids]))
        self.eval_results_dict, self.training_logs, self.best_model_step = {}, [], None

    def update_run(self, **so_far: Any) -> None:
        """How far the training has come: `step`, `scores`, `kept_step`, `seconds`."""
        if self.runs and isinstance(self.runs[-1], TrainingRun):
            run = self.runs[-1] = replace(self.runs[-1], **so_far)
            # The stock card has those of the last evaluation.
            for evaluator, metrics in (self.eval_results_dict or {}).items():
                self.eval_results_dict[evaluator] = {**metrics, **_among(run.kept_scores, metrics)}

    def try_to_set_base_model(self) -> None:
        """Nothing: it is known from loading, and no name in a configuration is to be trusted."""

    def get_default_model_name(self) -> str:
        """The model's own name, or what it was made of."""
        if self.model_id:
            return self.model_id.rpartition("/")[2]
        base = self.base_model if isinstance(self.base_model, str) else ""
        name = base.rpartition("/")[2] or type(self.model).__name__
        return f"{name}, trained further" if self.runs else name

    def format_eval_metrics(self) -> dict[str, Any]:
        """As sentence-transformers; scores of the last training have a table of their own."""
        found: dict[str, Any] = super().format_eval_metrics()
        for result in (result for model in found["model-index"] for result in model["results"]):
            if result["dataset"]["type"] == "unknown":
                result["dataset"] = {"name": "held-out rows", "type": "held-out"}
        everything, last = self.eval_results_dict, self.runs[-1:]
        of_run = last[0].kept_scores if last and isinstance(last[0], TrainingRun) else {}
        self.eval_results_dict = {
            evaluator: metrics for evaluator, metrics in everything.items() if not _among(of_run, metrics)
        }
        try:
            found["eval_metrics"] = super().format_eval_metrics()["eval_metrics"]
        finally:
            self.eval_results_dict = everything
        return found

    def to_dict(self) -> dict[str, Any]:
        """What the template shows, and the metadata."""
        given = self.model_name
        if not given and self.model is not None:
            self.model_name = self.get_default_model_name()
        try:
            found: dict[str, Any] = super().to_dict()
        finally:
            self.model_name = given  # it is another one after a training
        found["body"] = _templates().get_template("body.md").render({**_UNSET, **found}).strip()
        return found

    def get_model_specific_metadata(self) -> dict[str, Any]:
        """What the template takes beside what sentence-transformers gathers."""
        found: dict[str, Any] = super().get_model_specific_metadata()
        shown = [str(run) for run in self.runs if isinstance(run, str) or run.step]
        last = [run for run in self.runs if isinstance(run, TrainingRun) and run.step]
        papers = [*self.papers, *(paper for run in last for paper in run.papers)]
        return {
            **found,
            "profile": self.model.profile,
            "runs": shown,
            "stock_run": not shown and "generated_from_trainer" in self.tags,
            "data": _shortened([str(source) for source in last[-1].sources]) if last else self.datasets,
            "usage": usage(self.model.profile, self.model_id, adapter=has_adapter(self.model[0].model)),
            "citations": _bibliography(papers),
        }


def usage(
    profile: Profile, name: str | None = None, *, adapter: bool = False, untrained_from: str = ""
) -> str:
    """The section of a card on how to use the model, and on where plain sentence-transformers differs.

    Args:
        profile: Of the model.
        name: Of its repository, if it has one.
        adapter: Whether the folder holds an adapter alone.
        untrained_from: What it was loaded from, where no card says that it was trained since.
    """
    text = (
        _templates()
        .get_template("usage.md")
        .render(
            name=name or NO_NAME,
            version=__version__,
            adapter=adapter,
            untrained_from=untrained_from,
            plain=what_plain_code_lacks(profile),
            opens=not adapter and opens_in_sentence_transformers(profile),
        )
    )
    return text.strip()


def with_usage(card: str, model: Any) -> str:
    """A card that was kept as it was loaded, with the section on how to use the model as it is now.

    Args:
        card: Of the folder or repository that the model was loaded from.
        model: A `VLM2Vec`.
    """
    data: VLM2VecModelCardData = model.model_card_data
    adapter = has_adapter(model[0].model)
    is_ours = _BASE.search(card) is not None
    section = usage(
        model.profile, data.model_id, adapter=adapter, untrained_from="" if is_ours else data.base
    )
    old = str(model[0].model.name_or_path).rpartition("/")[2]
    if data.model_id and old:
        new = data.model_id.rpartition("/")[2]
        card = re.sub(rf"^# {re.escape(old)}$", lambda _: f"# {new}", card, count=1, flags=re.MULTILINE)
    before, found, rest = card.partition(f"{_USAGE}\n")
    if not found:
        return f"{card.rstrip()}\n\n{section}\n"
    following = re.search(r"^## ", rest, re.MULTILINE)
    return f"{before}{section}\n\n{rest[following.start() :]}" if following else f"{before}{section}\n"


def _cached_repository(folders: Sequence[Path]) -> str:
    """The repository that a folder in the hub's cache is a snapshot of."""
    for folder in folders[:1]:
        cached = folder.parent.parent.name
        if folder.parent.name == "snapshots" and cached.startswith("models--"):
            return cached.removeprefix("models--").replace("--", "/")
    return ""


def _runs(card: str) -> list[TrainingRun | str]:
    """The trainings that a card of ours tells of, as text."""
    _, _, training = card.partition("\n## Training\n")
    training = re.split(r"^## ", training, maxsplit=1, flags=re.MULTILINE)[0]
    return [run.strip() for run in _RUN.split(training)[1:]]


def _data_set(source: RunSource) -> dict[str, str]:
    """Its name on the hub, if it is there."""
    _, found, name = source.homepage.partition(_DATA_SETS)
    return {"id": name.strip("/")} if found else {}


def _score_name(name: str) -> str:
    """What people call a score; "" for one that always is another one."""
    match = _SCORE.fullmatch(name)
    if match is None or match["metric"] not in _METRICS:
        return name
    if match["metric"] == "precision" and match["k"] == "1":
        return ""  # Hit@1
    label = f"{_METRICS[match['metric']]}@{match['k']}"
    return f"{match['of']}: {label}" if match["of"] else label


def _among(scores: Mapping[str, float], metrics: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in scores.items() if name in metrics}


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value or [])


def _shortened(names: Sequence[str]) -> list[str]:
    more = len(names) - _FIRST_SOURCES
    return [*names[:_FIRST_SOURCES], f"{more} more"] if more > 1 else list(names)


def _bibliography(papers: Sequence[str]) -> str:
    """Entries in BibTeX, each once; keys that are none of ours are left out."""
    text = _TEMPLATE.with_name("citations.bib").read_text(encoding="utf-8")
    entries = {found[1]: entry for entry in text.strip().split("\n\n") if (found := _CITED.match(entry))}
    return "\n\n".join(entries[paper] for paper in dict.fromkeys(papers) if paper in entries)


def _cell(value: Any) -> str:
    """Text inside a table of Markdown."""
    return str(value).replace("|", "\\|").replace("\n", " ")


@cache
def _templates() -> Environment:
    environment = Environment(  # noqa: S701  # Markdown
        loader=PackageLoader("vlm2vec", "assets/card"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["cell"] = _cell
    return environment
