"""What was approved leaves once, or is shown as failed or uncertain."""
