"""What to evaluate next: samplers, the search loop, finalists, the coefficient search.

They are given a proxy and an engine, and write no files of results.
"""
