"""What is planted in the invented shop: its people, goods and routes, and the truth that a real shop never knows.

The chances below are the true ones, so the tour can hold what Aftercare measures against them. How the world is
played is in `bot.demo.shop`; nothing here draws a number.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

SHOP_NAME = "Hearth and Whirl"
SHOP_TIMEZONE = "Europe/Berlin"
CURRENCY = "EUR"


@dataclass(frozen=True, kw_only=True)
class Good:
    """A product of the shop.

    Attributes
    ----------
    share : float
        How often an order line is this product, relative to the others.
    trouble : float
        The chance of a problem within the horizon when the parcel came in time.
    pairs : bool
        It is set up with an app, so the shop hears of its first use.
    """

    id: str
    name: str
    category: str
    price: float
    weight_g: int
    seller: str
    share: float
    trouble: float
    pairs: bool = False


@dataclass(frozen=True, kw_only=True)
class Seller:
    """A warehouse that ships for the shop."""

    id: str
    city: str
    region: str


@dataclass(frozen=True, kw_only=True)
class Region:
    """Where customers live."""

    name: str
    country: str
    timezone: str
    cities: tuple[str, ...]
    share: float


SELLERS = (
    Seller(id="hamburg", city="Hamburg", region="Hamburg"),
    Seller(id="leipzig", city="Leipzig", region="Sachsen"),
    Seller(id="milano", city="Milano", region="Lombardia"),
)

GOODS = (
    Good(
        id="VAC-200",
        name="Breeze 2 cordless vacuum",
        category="vacuums",
        price=249.0,
        weight_g=2600,
        seller="leipzig",
        share=0.16,
        trouble=0.09,
        pairs=True,
    ),
    Good(
        id="VAC-100",
        name="Breeze 1 cordless vacuum",
        category="vacuums",
        price=169.0,
        weight_g=2400,
        seller="leipzig",
        share=0.08,
        trouble=0.07,
        pairs=True,
    ),
    Good(
        id="ESP-10",
        name="Bella espresso maker",
        category="coffee",
        price=189.0,
        weight_g=4100,
        seller="milano",
        share=0.17,
        trouble=0.06,
    ),
    Good(
        id="GRN-05",
        name="Bella coffee grinder",
        category="coffee",
        price=79.0,
        weight_g=1500,
        seller="milano",
        share=0.13,
        trouble=0.04,
    ),
    Good(
        id="PAN-28",
        name="Iron pan 28 cm",
        category="cookware",
        price=59.0,
        weight_g=2200,
        seller="milano",
        share=0.10,
        trouble=0.03,
    ),
    Good(
        id="BLD-03",
        name="Whirl hand blender",
        category="blenders",
        price=45.0,
        weight_g=900,
        seller="hamburg",
        share=0.15,
        trouble=0.04,
    ),
    Good(
        id="SCL-01",
        name="Gram kitchen scale",
        category="tools",
        price=25.0,
        weight_g=500,
        seller="hamburg",
        share=0.13,
        trouble=0.02,
    ),
    Good(
        id="FIL-02",
        name="Filter set for Breeze vacuums",
        category="parts",
        price=19.0,
        weight_g=200,
        seller="leipzig",
        share=0.13,
        trouble=0.02,
    ),
)

REGIONS = (
    Region(
        name="Bayern",
        country="DE",
        timezone="Europe/Berlin",
        cities=("München", "Nürnberg", "Augsburg", "Regensburg"),
        share=0.34,
    ),
    Region(
        name="Nordrhein-Westfalen",
        country="DE",
        timezone="Europe/Berlin",
        cities=("Köln", "Dortmund", "Münster"),
        share=0.20,
    ),
    Region(name="Berlin", country="DE", timezone="Europe/Berlin", cities=("Berlin",), share=0.14),
    Region(name="Hamburg", country="DE", timezone="Europe/Berlin", cities=("Hamburg",), share=0.09),
    Region(name="Hessen", country="DE", timezone="Europe/Berlin", cities=("Frankfurt", "Kassel"), share=0.09),
    Region(name="Wien", country="AT", timezone="Europe/Vienna", cities=("Wien",), share=0.08),
    Region(name="Noord-Holland", country="NL", timezone="Europe/Amsterdam", cities=("Amsterdam",), share=0.06),
)

FIRST_NAMES = (
    "Anna", "Ben", "Clara", "David", "Elif", "Felix", "Greta", "Hannes", "Iris", "Jonas", "Katja", "Leo", "Mira",
    "Noah", "Olga", "Paul", "Rosa", "Samuel", "Tilda", "Umut", "Vera", "Willem", "Yara", "Zoe", "Marta", "Emil",
    "Lotte", "Karim", "Ines", "Oskar",
)  # fmt: skip
LAST_NAMES = (
    "Adler", "Becker", "Conrad", "Demir", "Engel", "Fischer", "Graf", "Huber", "Jansen", "Keller", "Lang", "Maier",
    "Nowak", "Otto", "Pohl", "Richter", "Sander", "Thoma", "Vogel", "Weber", "Yilmaz", "Ziegler", "de Vries", "Novák",
)  # fmt: skip

GOALS = (
    "keep a dog household free of hair",
    "make proper espresso at home",
    "cook for four on weekdays",
    "a quicker morning",
)

TROUBLE_WORDS = {
    "late": (
        "Where is my parcel? It should have been here days ago.",
        "The promised date has passed and tracking has not moved since Verona.",
        "My order is late and nobody tells me anything.",
    ),
    "lot": (
        "The vacuum does not charge any more, the light stays red.",
        "Battery dead after two days, it will not charge.",
        "My Breeze 2 stopped charging. The lamp at the base blinks red.",
    ),
    "plain": (
        "A part is missing in the box.",
        "It is scratched, I would like to send it back.",
        "I cannot get it to work.",
        "How do I return this?",
    ),
    # What the knowledge base that is shipped has no article about.
    "gap": (
        "Can I run the Breeze 2 on a 110 volt socket in Canada?",
        "Does the Bella espresso maker work on a boat with a 12 volt inverter?",
        "Is the iron pan certified kosher?",
    ),
}


@dataclass(frozen=True, kw_only=True)
class Story:
    """The plot, its size and its true chances.

    Attributes
    ----------
    seed : int
        Every draw comes from it; the same story is the same shop, byte for byte.
    now : datetime
        The instant at which the demo begins; the files of the present hold nothing recorded later.
    customers : int
        Purchasers over the whole span; the orders follow from them (about 3.5 each).
    sale_share, sale_days : float, (int, int)
        The share of the purchasers whom a sale of Milanese goods brought, and between how many days before `now`.
    late_chance, late_chance_elsewhere : float
        Of a parcel to miss its promise on the planted route since `route_since`, and anywhere else.
    late_trouble, late_trouble_contacted : float
        The chance that a late parcel becomes a problem when nobody writes, and when somebody does: the true
        effect of a check-in is their difference.
    setup_effect : float
        The factor that a check-in after delivery puts on a product's own trouble.
    lot_trouble : float
        The chance of a problem with the faulty lot; no message mends a battery.
    return_chance, return_chance_contacted : float
        The chance that a customer who has been quiet for `quiet_days` orders within the next twelve days.
    """

    seed: int = 20260310
    now: datetime = datetime(2026, 3, 10, 9, 30, tzinfo=UTC)
    days: int = 275
    future_days: int = 15
    customers: int = 1700
    sale_share: float = 0.24
    sale_days: tuple[float, float] = (9.0, 4.5)
    sale_goods: float = 0.75
    promise_days: int = 6
    route_seller: str = "milano"
    route_region: str = "Bayern"
    route_days: int = 90
    late_chance: float = 0.8
    late_chance_elsewhere: float = 0.05
    late_trouble: float = 0.62
    late_trouble_contacted: float = 0.24
    setup_effect: float = 0.5
    lot_product: str = "VAC-200"
    lot_faulty: str = "L2601B"
    lot_days: int = 75
    lot_share: float = 0.4
    lot_trouble: float = 0.5
    gap_share: float = 0.3
    quiet_days: int = 60
    return_chance: float = 0.02
    return_chance_contacted: float = 0.12
    slack_customers: int = 24

    @property
    def start(self) -> datetime:
        return self.now - timedelta(days=self.days)

    @property
    def end(self) -> datetime:
        """Up to where the world is played."""
        return self.now + timedelta(days=self.future_days)

    @property
    def later(self) -> datetime:
        """The instant 'fourteen days later': every check-in of the first day is past its horizon."""
        return self.now + timedelta(days=14, hours=1)

    @property
    def route_since(self) -> datetime:
        return self.now - timedelta(days=self.route_days)

    @property
    def lot_since(self) -> datetime:
        return self.now - timedelta(days=self.lot_days)

    @property
    def true_effect(self) -> float:
        """The points of probability by which a check-in lowers the chance that a late parcel becomes a problem."""
        return self.late_trouble - self.late_trouble_contacted


GOOD_BY_ID = {good.id: good for good in GOODS}
SELLER_BY_ID = {seller.id: seller for seller in SELLERS}
REGION_BY_NAME = {region.name: region for region in REGIONS}
