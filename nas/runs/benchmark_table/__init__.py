"""``nas-search table``: random networks of a space, each trained alone."""
