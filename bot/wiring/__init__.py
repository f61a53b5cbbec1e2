"""The only composition root: nobody else picks concrete parts."""

from bot.wiring.app import App

__all__ = ["App"]
