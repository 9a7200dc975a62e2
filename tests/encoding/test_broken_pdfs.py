"""One broken PDF is one failing input of a job, whatever it is built from."""

import numpy as np
import pytest

from vlm2vec import VLM2Vec, pdf_pages
from vlm2vec.errors import MediaError
from vlm2vec.world.samples import write_samples


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    folder = tmp_path_factory.mktemp("job")
    whole = next(sample.path for sample in write_samples(folder) if sample.path.suffix == ".pdf")
    broken = folder / "broken.pdf"
    broken.write_bytes(whole.read_bytes()[:200])
    return [page for path in (whole, broken, folder / "missing.pdf", whole) for page in pdf_pages(path)]


def test_broken_files_cost_their_own_rows_alone(job):
    model = VLM2Vec()
    vectors = model.encode(job, on_error="nan")
    bad = [i for i, page in enumerate(job) if page.error is not None]
    assert len(bad) == 2
    assert np.flatnonzero(np.isnan(vectors).any(axis=1)).tolist() == bad
    np.testing.assert_allclose(vectors[0], model.encode(job[0]), rtol=0, atol=5e-7)


def test_the_error_has_the_index_and_the_file(job):
    with pytest.raises(MediaError, match=r"broken\.pdf") as caught:
        VLM2Vec().encode(job)
    assert caught.value.index == [page.error is not None for page in job].index(True)
