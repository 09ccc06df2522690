"""How EfficientNet-B0 comes out of its search space: ``nas-search reproduce b0``."""
