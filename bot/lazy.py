"""Parts whose modules are imported only when they are built, so that commands without them start at once.

scikit-learn, polars and Slack's SDK together take seconds to import. Only `bot.wiring` uses this, for what it wires; type
checkers and import-linter see an ordinary import beside each use. Not for hiding a cycle.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class OnFirstUse:
    """A class or function, imported at its first call; imports are locked by Python, so any thread may be first."""

    module: str
    name: str

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self.target(*arguments, **named)

    @property
    def target(self) -> Any:
        """What is called."""
        return getattr(importlib.import_module(self.module), self.name)
