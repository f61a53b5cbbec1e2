"""Aftercare's product code: what is remembered, decided and said to people."""
