"""How networks are trained: the trainer, recipes, schedules, weight sharing, checkpoints, scores.

Which networks are trained, and what their accuracies are used for, is decided elsewhere.
"""
