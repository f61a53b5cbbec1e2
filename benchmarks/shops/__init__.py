"""Shops and experiments for the benchmarks, invented and real, and what runs over them."""
