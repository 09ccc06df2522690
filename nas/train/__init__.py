"""One architecture trained properly, to be taken away: weights, history, what they are worth."""
