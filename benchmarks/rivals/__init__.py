"""The rivals that the delivery is measured beside; no part of the product."""
