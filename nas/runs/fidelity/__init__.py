"""``nas-search fidelity``: how well a proxy ranks the networks of a benchmark table."""
