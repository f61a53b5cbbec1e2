"""Plots are one self-contained SVG element each, the same for the same numbers, readable without seeing them."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from xml.etree import ElementTree

import numpy as np
import pytest

from predictors import plots

RNG = np.random.default_rng(4)
Y = (RNG.random(300) < 0.2).astype(np.int64)
P = {"aftercare": np.clip(0.2 + 0.2 * Y + RNG.normal(0, 0.1, 300), 0.01, 0.99), "prior": np.full(300, 0.2)}
MONTHS = ["2018-02"] * 150 + ["2018-03"] * 150
PLOTS: dict[str, Callable[[np.ndarray, dict[str, np.ndarray], list[str]], str]] = {
    "roc": lambda y, p, _: plots.roc_plot(y, p),
    "precision_recall": lambda y, p, _: plots.precision_recall_plot(y, p),
    "reliability": lambda y, p, _: plots.reliability_plot(y, p),
    "capacity": lambda y, p, _: plots.precision_at_capacity_plot(y, p),
    "level": lambda y, p, months: plots.level_by_month_plot(months, y, p["aftercare"]),
}


@pytest.mark.parametrize("name", PLOTS)
def test_a_plot_is_one_element_that_fetches_nothing_and_has_units_on_both_axes(name: str) -> None:
    svg = PLOTS[name](Y, P, MONTHS)
    root = ElementTree.fromstring(svg)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root.get("aria-label")
    assert set(re.findall(r"https?://[^\"']+", svg)) <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert "<style" not in svg
    words = [text.text or "" for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert sum("%" in word and len(word) > 6 for word in words) >= (1 if name == "level" else 2)
    used = set(re.findall(r"href=\"#([^\"]+)\"|url\(#([^)]+)\)", svg))
    assert {one or other for one, other in used} == set(re.findall(r' id="([^"]+)"', svg))


@pytest.mark.parametrize("name", PLOTS)
def test_the_same_numbers_draw_the_same_text(name: str) -> None:
    assert PLOTS[name](Y, P, MONTHS) == PLOTS[name](Y, P, MONTHS)


def test_other_numbers_draw_another_text() -> None:
    assert plots.roc_plot(Y, P) != plots.roc_plot(1 - Y, P)


@pytest.mark.parametrize("name", PLOTS)
@pytest.mark.parametrize(("rows", "outcome"), [(0, 0), (1, 1), (3, 0)])
def test_few_rows_or_one_class_are_drawn_too(name: str, rows: int, outcome: int) -> None:
    few = {"aftercare": np.linspace(0.2, 0.4, rows)}
    assert PLOTS[name](np.full(rows, outcome), few, ["2018-02"] * rows).startswith("<svg")


def test_a_name_from_outside_cannot_leave_its_place() -> None:
    svg = plots.roc_plot(Y, {"<script>alert(1)</script>": P["aftercare"]})
    assert "<script" not in svg
    ElementTree.fromstring(svg)


def test_drawing_leaves_no_state_and_importing_costs_nothing() -> None:
    code = (
        "import sys, predictors.plots as p; assert 'matplotlib' not in sys.modules\n"
        "import matplotlib; matplotlib.use('svg'); before = dict(matplotlib.rcParams)\n"
        "import numpy as np; p.roc_plot(np.array([0, 1]), {'a': np.array([.1, .2])})\n"
        "assert dict(matplotlib.rcParams) == before; assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
