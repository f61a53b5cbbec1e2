"""Scoring, training, promoting, watching and judging the models; labels and patterns."""
