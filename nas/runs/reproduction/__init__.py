"""``nas-search reproduce``: the evidence on EfficientNet-B0, as documents."""
