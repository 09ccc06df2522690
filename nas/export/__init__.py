"""Networks as other libraries build them, a file a target; equivalence checks; latency.

Nothing here searches or trains.
"""
