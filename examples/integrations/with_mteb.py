"""Score a model with mteb, on a retrieval task of one's own: pictures by what they show."""

import tempfile
from pathlib import Path

import mteb
import PIL.Image
from datasets import Dataset
from mteb.abstasks.retrieval import AbsTaskRetrieval

from vlm2vec import VLM2Vec
from vlm2vec.integrations.mteb import MTEBEncoder
from vlm2vec.world.samples import write_samples

pictures = [one for one in write_samples(Path(tempfile.mkdtemp())) if one.path.suffix in (".jpg", ".png")]
NAMES = [one.path.name for one in pictures]
CORPUS = Dataset.from_dict({"id": NAMES, "image": [PIL.Image.open(one.path) for one in pictures]})
QUERIES = Dataset.from_dict({"id": NAMES, "text": [one.caption for one in pictures]})
SPLIT = {"queries": QUERIES, "relevant_docs": {name: {name: 1} for name in NAMES}, "top_ranked": None}


class Scenes(AbsTaskRetrieval):
    metadata = mteb.TaskMetadata(
        name="Scenes",
        description="Drawn scenes.",
        dataset={"path": "none", "revision": "1"},
        type="Any2AnyRetrieval",
        category="t2i",
        modalities=["text", "image"],
        eval_langs=["eng-Latn"],
        main_score="ndcg_at_5",
    )

    def load_data(self, num_proc: int | None = None, **kwargs: object) -> None:
        self.dataset, self.data_loaded = {"default": {"test": {**SPLIT, "corpus": CORPUS}}}, True


result = mteb.evaluate(MTEBEncoder(VLM2Vec()), Scenes(), cache=None, show_progress_bar=False)
print(f"ndcg_at_5 of {result.model_name}: {result.task_results[0].get_score()}")
