"""The groups of orders that may share a trouble (cells: a lot, a product, a seller, a region), and counting over them.

Which counts are surprising is decided in `predictors.patterns`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt
import polars as pl

from predictors.exposure import Index, Orders
from predictors.frames import Array
from predictors.snapshot import Snapshot

__all__ = ["Cell", "Cells", "Dimension", "Mask", "WindowCounts", "build_cells"]

Mask = npt.NDArray[np.bool_]


class Dimension(StrEnum):
    LOT = "lot"  # one production lot of one product
    PRODUCT = "product"
    SELLER = "seller"
    REGION = "region"  # where the customer lives


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One group of orders.

    Attributes
    ----------
    product_id : int or None
        Of a lot or a product.
    value : str
        The lot, the seller, or the region with its country; empty for a product.
    """

    dimension: Dimension
    product_id: int | None
    value: str

    @property
    def key(self) -> str:
        """What tells this cell from all others."""
        return f"{self.dimension}:{'' if self.product_id is None else self.product_id}:{self.value}"


@dataclass(frozen=True, kw_only=True)
class WindowCounts:
    """Of one kind of trouble in one window, for each cell, (cells,), and for the shop as a whole.

    Attributes
    ----------
    observed, exposed : array
        Distinct customers with trouble, and at risk of it.
    expected : array
        How many with trouble the hazard expects.
    shop_observed, shop_expected : float
        The same for all customers of the shop.
    """

    observed: Array
    exposed: Array
    expected: Array
    shop_observed: float
    shop_expected: float


@dataclass(frozen=True, kw_only=True)
class Cells:
    """All cells of a shop, and which orders are in them.

    Attributes
    ----------
    cells : sequence of Cell
        Sorted by key.
    row, cell : array (links,)
        An order (its position in `Orders`) and a cell that it is in, sorted by cell.
    pair : array (links,)
        The (cell, customer) that the link belongs to; `pair_cell` says which cell that is.
    customer : array (n,)
        The position of each order's customer.
    """

    cells: Sequence[Cell]
    row: Index
    cell: Index
    pair: Index
    pair_cell: Index
    customer: Index

    def sums(self, of_orders: Array) -> Array:
        """Sum a value of orders over each cell, (cells,)."""
        result: Array = np.bincount(self.cell, weights=of_orders[self.row], minlength=len(self.cells)).astype(
            np.float64
        )
        return result

    def rows_of(self, cell: int) -> Index:
        """Return the orders of a cell."""
        low, high = np.searchsorted(self.cell, [cell, cell + 1])
        return self.row[low:high]

    def count(self, at_risk: Mask, troubled: Mask, hazard: Array) -> WindowCounts:
        """Count customers.

        Parameters
        ----------
        at_risk, troubled : array of bool (n,)
            Orders; who has trouble counts as at risk.
        hazard : array (n,)
            Cumulative hazard of each order in the window; 0 where it is not at risk.
        """
        of_pair = np.bincount(self.pair, weights=hazard[self.row], minlength=len(self.pair_cell))
        of_customer = np.bincount(self.customer, weights=hazard)
        return WindowCounts(
            observed=self._distinct(troubled),
            exposed=self._distinct(at_risk | troubled),
            expected=self._of_pairs(-np.expm1(-of_pair)),
            shop_observed=float(len(np.unique(self.customer[troubled]))),
            shop_expected=float(-np.expm1(-of_customer).sum()),
        )

    def _distinct(self, chosen: Mask) -> Array:
        pairs = np.zeros(len(self.pair_cell))
        pairs[self.pair[chosen[self.row]]] = 1.0
        return self._of_pairs(pairs)

    def _of_pairs(self, values: Array) -> Array:
        result: Array = np.bincount(self.pair_cell, weights=values, minlength=len(self.cells)).astype(np.float64)
        return result


def build_cells(snapshot: Snapshot, orders: Orders) -> Cells:
    """Find the cells of orders, by what is known of them at the snapshot's end."""
    position = pl.DataFrame({"order_id": orders.order_id, "customer_id": orders.customer_id}).with_row_index("row")
    current = pl.col("superseded_at").is_null()
    products = snapshot.products.filter(current).select("product_id", product_lot="lot")
    lines = (
        snapshot.order_lines.filter(current)
        .join(position.select("order_id", "row"), on="order_id")
        .join(products, on="product_id", how="left")
        .select("row", "product_id", "seller_id", lot=pl.coalesce("lot", "product_lot"))
    )
    homes = position.join(snapshot.customers.filter(current), on="customer_id").filter(pl.col("region").is_not_null())
    parts = [
        _part(lines.drop_nulls("lot"), Dimension.LOT, pl.col("product_id"), pl.col("lot")),
        _part(lines.drop_nulls("product_id"), Dimension.PRODUCT, pl.col("product_id"), pl.lit("")),
        _part(lines.drop_nulls("seller_id"), Dimension.SELLER, None, pl.col("seller_id")),
        _part(homes, Dimension.REGION, None, pl.concat_str("country", "region", separator="/", ignore_nulls=True)),
    ]
    named = ["dimension", "product_id", "value"]
    links = pl.concat(parts).unique().sort(*named, "row", nulls_last=True)
    links = links.with_columns(cell=pl.struct(named).rle_id().cast(pl.Int64))
    cells = [
        Cell(dimension=Dimension(dimension), product_id=product_id, value=value)
        for dimension, product_id, value in links.unique("cell", maintain_order=True).select(named).iter_rows()
    ]
    customer = np.unique(orders.customer_id, return_inverse=True)[1].astype(np.int64)
    row, cell = links["row"].cast(pl.Int64).to_numpy(), links["cell"].to_numpy()
    people = int(customer.max()) + 1 if len(customer) else 1
    pairs, pair = np.unique(cell * people + customer[row], return_inverse=True)
    return Cells(
        cells=cells, row=row, cell=cell, pair=pair.astype(np.int64), pair_cell=pairs // people, customer=customer
    )


def _part(frame: pl.DataFrame, dimension: Dimension, product_id: pl.Expr | None, value: pl.Expr) -> pl.DataFrame:
    return frame.select(
        "row",
        dimension=pl.lit(dimension.value),
        product_id=pl.lit(None, dtype=pl.Int64) if product_id is None else product_id,
        value=value,
    )
