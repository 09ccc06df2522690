"""What lies on disk: result folders (lock, identity, seal), a run's state, typed documents.

Only formats and folders; what is computed from them is computed by whoever wrote them.
"""
