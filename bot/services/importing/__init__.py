"""From a shop's files to the tables."""
