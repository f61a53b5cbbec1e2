"""The knowledge base at work, and its care."""
