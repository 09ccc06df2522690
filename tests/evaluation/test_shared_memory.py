"""Whether what parallel processes share fits into the memory that they share."""

import pytest

import nas.evaluation.local
from nas.evaluation.local import jobs_that_fit


def test_one_job_where_what_is_shared_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    notes: list[str] = []
    monkeypatch.setattr(nas.evaluation.local, "fits_shared_memory", lambda size: size <= 100)
    images, both = {"the images": 90}, {"the images": 90, "the supernet": 4 << 20}
    assert jobs_that_fit(2, images, notes.append) == 2
    assert jobs_that_fit(1, both, notes.append) == 1
    assert notes == []
    assert jobs_that_fit(2, both, notes.append) == 1
    assert "supernet (5 MiB)" in notes[0]
    assert jobs_that_fit(2, {"the images": 101}, notes.append) == 1
    assert "images (1 MiB)" in notes[1]
