"""What contacting changes: reading experiments, and running them."""
