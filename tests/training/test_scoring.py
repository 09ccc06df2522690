"""Scores of a network and of its classes."""

import torch

from nas.training.class_metrics import class_scores, confusion_matrix
from nas.training.scoring import predict


def test_scores_by_class() -> None:
    labels = torch.tensor([0, 0, 0, 1, 1, 3])
    predicted = torch.tensor([0, 0, 1, 1, 0, 2])
    matrix = confusion_matrix(predicted, labels, 5)
    assert matrix.sum() == 6
    assert matrix[0].tolist() == [2, 1, 0, 0, 0]
    a, b, c, d, e = class_scores(predicted, labels, "abcde")
    assert (a.precision, a.recall, a.f1, a.support) == (2 / 3, 2 / 3, 2 / 3, 3)
    assert (b.precision, b.recall, b.f1) == (0.5, 0.5, 0.5)
    assert (c.precision, c.recall, c.f1, c.support) == (0.0, None, 0.0, 0)
    assert (d.precision, d.recall, d.f1, d.support) == (None, 0.0, 0.0, 1)
    assert (e.precision, e.recall, e.f1, e.support) == (None, None, None, 0)
    # Of very many classes too, where a table of their pairs would have a thousand million numbers.
    many = class_scores(predicted, labels, range(60_000))  # type: ignore[arg-type]
    assert [row.f1 for row in many[:5]] == [a.f1, b.f1, c.f1, d.f1, e.f1]


def test_fewer_large_images_are_classified_at_once() -> None:
    sizes: list[int] = []

    class Noted(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            sizes.append(len(x))
            return x.mean((2, 3))

    pixels = torch.zeros(260, 3, 8, 8, dtype=torch.uint8)
    for resolution, most in ((64, 250), (128, 62), (224, 20), (2048, 1)):
        sizes.clear()
        predict(Noted(), pixels[: 5 * most], resolution, (0.5,) * 3, (0.2,) * 3)
        assert max(sizes) == most
