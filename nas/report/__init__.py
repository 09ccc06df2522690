"""What people look at: the page, plots, TensorBoard events.

Takes records and computes nothing new.
"""
