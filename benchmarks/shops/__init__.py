"""Invented shops for the benchmarks."""
