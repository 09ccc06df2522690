"""What a network is: architectures and their files, torch modules, costs, scaling and weights.

Knows nothing of search spaces, images or training.
"""
