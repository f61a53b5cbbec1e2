"""The mathematics: frames and numbers in, probabilities and reasons out. Knows nothing of Slack, mail or tables."""
