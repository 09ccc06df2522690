"""How trials are run and kept: studies, the scheduler, engines (local, Ray) and leases.

What to evaluate next is decided in ``nas.strategies``.
"""
