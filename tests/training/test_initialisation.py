"""What a training begins with."""

import nas
from nas.training.initialisation import adapt_architecture


def test_small_images_get_a_stem_that_does_not_shrink_them() -> None:
    b0 = nas.load_architecture("efficientnet-b0")
    for pixels, stride in ((32, 1), (64, 2), (224, 2)):
        found = adapt_architecture(b0, 3, 10, pixels, None)
        assert (found.resolution, found.stem.stride, found.num_classes) == (pixels, stride, 10)
    assert adapt_architecture(b0, 3, 10, 32, 2).stem.stride == 2
    assert adapt_architecture(b0, 1, 10, None, 1).stem.stride == 1
    assert adapt_architecture(b0, 1, 10, None, None).resolution == 224
