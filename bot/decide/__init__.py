"""Pure decisions: whom, when, whether. Standard library only; no I/O, no clock, no tables."""
