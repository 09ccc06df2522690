"""``nas-search train``: one network trained properly, its weights and what it is worth."""
