"""Whether what parallel processes share fits into the memory that they share."""

import pytest

import nas.evaluation.local
from nas.evaluation.local import jobs_that_fit
from nas.proxies.supernet import SupernetProxy
from nas.training.supernet_trainer import SupernetSettings
from tests.proxies.test_short_training import made_up


def test_one_job_where_the_images_or_the_supernet_do_not_fit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = made_up()
    supernet = SupernetProxy(data, SupernetSettings(resolution=64))
    assert supernet.nbytes > 10 * data.nbytes  # floats, and larger than the images are
    notes: list[str] = []
    monkeypatch.setattr(
        nas.evaluation.local, "fits_shared_memory", lambda size: size <= data.nbytes
    )
    assert jobs_that_fit(data, 2, notes.append) == 2
    assert notes == []
    assert jobs_that_fit(data, 1, notes.append, supernet) == 1
    assert notes == []
    assert jobs_that_fit(data, 2, notes.append, supernet) == 1
    assert "one job instead of 2: the images and the supernet" in notes[0]
    monkeypatch.setattr(nas.evaluation.local, "fits_shared_memory", lambda size: False)
    assert jobs_that_fit(data, 2, notes.append) == 1
    assert "one job instead of 2: the images (" in notes[1]
