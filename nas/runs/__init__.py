"""A command's work from beginning to end, in a folder: the pipeline, training, comparison, ...

The command line parses and prints; everything between is here.
"""
