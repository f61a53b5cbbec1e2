"""What agents see and decide, and what time does to what they have not decided."""
