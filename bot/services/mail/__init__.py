"""What a mail that came in does."""
