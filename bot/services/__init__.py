"""Use cases: one module each, one transaction a step."""
