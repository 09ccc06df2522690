"""``nas-search verify``: recomputes what a folder of results says."""
