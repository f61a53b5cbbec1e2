"""Whom to check in with today, with which words, and why not the others."""
