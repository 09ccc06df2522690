"""What may be chosen: search spaces and their TOML, budgets, feasibility and encodings.

What to choose next is decided in ``nas.strategies``; nothing here evaluates a network.
"""
