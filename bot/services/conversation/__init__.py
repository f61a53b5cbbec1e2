"""Customers' words come in; answers, questions back and hand-overs go out."""
