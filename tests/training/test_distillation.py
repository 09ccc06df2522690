"""Knowledge distillation."""

import pytest
import torch
import torch.nn.functional as F

from nas.training.distillation import Teacher


def test_the_loss_is_lowest_with_the_teachers_logits() -> None:
    class MeanColour(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.mean((2, 3))

    teacher = Teacher(MeanColour(), 4, (0.0,) * 3, (1.0,) * 3, temperature=2.0)
    pixels = 255 * torch.rand(5, 3, 8, 8)
    logits = MeanColour()(F.interpolate(pixels, (4, 4), mode="bilinear", antialias=True)) / 255
    loss = torch.tensor(3.0)
    assert float(teacher.blend(loss, logits, pixels)) == pytest.approx(1.5, abs=1e-5)
    wrong = logits.flip(1).requires_grad_()
    blended = teacher.blend(loss, wrong, pixels)
    assert float(blended.detach()) > 1.5
    blended.backward()
    assert wrong.grad is not None
    assert bool(wrong.grad.any())
