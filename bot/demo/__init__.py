"""The demo: an invented shop, and a tour that walks through the whole loop on it.

Everything here stands outside the product: it writes canonical files and calls the product's services as any
user would. Nothing of the product may import it.
"""
