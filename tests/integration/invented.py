"""An invented shop as canonical files, imported, with the predicting services on it."""

from __future__ import annotations

import csv
import shutil
from datetime import datetime, timedelta
from pathlib import Path

from bot.clock import ManualClock
from bot.config import Settings
from bot.services.importing.importer import Importer
from bot.services.prediction.evaluating import Evaluator
from bot.services.prediction.promoting import Promoter
from bot.services.prediction.retraining import Trainer
from bot.services.prediction.scoring import Scorer
from bot.store.database import Database, open_database
from tests.unit.shops import START, Rows, invented_shop

NOW = START + timedelta(days=230)
SCORED_FROM, SCORED_TO = START + timedelta(days=150), START + timedelta(days=170)


def write_shop(folder: Path, *, orders: int = 900, seed: int = 3) -> None:
    """Write an invented shop as canonical files."""
    write_rows(folder, invented_shop(orders, seed=seed))


def write_rows(folder: Path, rows: Rows) -> None:
    """Write rows as canonical files."""
    files = {
        "customers": ("customer_id", "country", "region", "created_at"),
        "products": ("product_id", "category", "weight_g"),
        "orders": ("order_id", "customer_id", "placed_at", "promised_at", "total", "status"),
        "order_lines": (
            "order_id", "line_no", "product_id", "seller_id", "quantity", "unit_price", "shipping_price", "ship_by",
            "seller_region",
        ),
        "touchpoints": ("touchpoint_id", "customer_id", "order_id", "kind", "occurred_at", "recorded_at", "value"),
    }  # fmt: skip
    for name, columns in files.items():
        with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns, extrasaction="ignore")
            writer.writeheader()
            for row in rows[name]:
                plain = {key: value.isoformat() if isinstance(value, datetime) else value for key, value in row.items()}
                writer.writerow({"created_at": START.isoformat(), **plain})


class Shop:
    """A database with an imported shop, and the services on it."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.folder = folder
        self.database = database
        self.clock = ManualClock(NOW)
        self.settings = Settings(home=folder)
        issue = self.settings.predictors.issue.model_copy(update={"horizon_days": 20})
        predictors = self.settings.predictors.model_copy(update={"issue": issue})
        self.settings = self.settings.model_copy(update={"predictors": predictors})
        self.scorer = Scorer(database, self.clock, self.settings)
        self.trainer = Trainer(database, self.clock, self.settings)
        self.promoter = Promoter(database, self.clock, self.settings)
        self.evaluator = Evaluator(database, self.clock, self.settings)

    @classmethod
    def copied(cls, home: Path, folder: Path) -> Shop:
        """Open a copy of another shop's folder, the database (`aftercare.db`) and the models in it."""
        shutil.copytree(home, folder, dirs_exist_ok=True)
        return cls(open_database(f"sqlite:///{folder / 'aftercare.db'}"), folder)

    def close(self) -> None:
        """Close the database, all of it in its one file."""
        with self.database.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        self.database.close()

    def read_files(self) -> None:
        importer = Importer(self.database, self.clock, self.settings)
        reports = importer.import_paths([self.folder], rejects=self.folder / "rejects.csv")
        assert sum(report.rejected for report in reports) == 0

    def backtest(self, moment: str) -> dict[str, tuple[float, str]]:
        found = self.scorer.score("issue", moment=moment, start=SCORED_FROM, end=SCORED_TO)
        return {str(one.order_key): (one.probability, one.as_of.isoformat()) for one in found}


def imported_shop(migrated: Path, home: Path, *, orders: int = 900) -> Path:
    """Import an invented shop into a copy of a migrated database, `aftercare.db` in its folder; return the folder."""
    shutil.copy(migrated, home / "aftercare.db")
    write_shop(home, orders=orders)
    shop = Shop(open_database(f"sqlite:///{home / 'aftercare.db'}"), home)
    shop.read_files()
    shop.close()
    return home
