"""The commands, as a shell sees them: their words, and what they stand for."""
