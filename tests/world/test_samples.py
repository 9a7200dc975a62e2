"""The sample files."""

from __future__ import annotations

from vlm2vec.world import write_samples


def test_samples_are_one_for_each_image_clip_and_page(tmp_path):
    samples = write_samples(tmp_path / "new" / "folder")
    assert all(sample.path.is_file() for sample in samples)
    assert len({sample.caption for sample in samples}) == len(samples)
    kinds = {sample.path.suffix for sample in samples}
    assert kinds == {".png", ".jpg", ".mp4", ".pdf"}
    assert [sample.page for sample in samples if sample.path.suffix == ".pdf"] == [1, 2, 3, 1, 2, 3]


def test_samples_follow_from_the_seed(tmp_path):
    first = write_samples(tmp_path / "a", seed=3)
    again = write_samples(tmp_path / "b", seed=3)
    other = write_samples(tmp_path / "c", seed=4)
    captions = [[sample.caption for sample in samples] for samples in (first, again, other)]
    assert captions[0] == captions[1] != captions[2]
    for one, two in zip(first, again, strict=True):
        assert one.path.name == two.path.name
        if one.path.suffix != ".pdf":  # pdfium writes a random document id
            assert one.path.read_bytes() == two.path.read_bytes()
