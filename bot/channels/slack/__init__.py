"""Slack: where agents decide, and one way to customers."""
