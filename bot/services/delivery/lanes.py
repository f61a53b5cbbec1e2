"""The lanes on which messages leave: each channel has its own, so that one that hangs holds up no other.

A channel that can carry many messages at once is driven by the thread that delivers; any other gets threads. How an
attempt ended is written down by `bot.services.delivery.deliverer`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, Protocol

import structlog

from bot.channels.base import Channel, Evidence, Exchange, ManyAtOnce, Message
from bot.services.delivery.handover import Outcome, rendered
from bot.services.delivery.recording import Ended
from bot.store.claiming import Claimed
from bot.store.enums import DeliveryState

__all__ = ["Lanes"]

log = structlog.get_logger()
# Sends that end within so short a time of each other are written down together.
TOGETHER_SECONDS = 0.025
# Where several channels are driven by one thread, it looks at each this often.
TURN_SECONDS = 0.01


class _Lane(Protocol):
    """How the messages of one channel leave."""

    @property
    def flying(self) -> Collection[Claimed]:
        """What was begun and `landed` has not returned."""

    def begin(self, claimed: Claimed) -> None: ...

    def landed(self) -> list[Ended]:
        """Return what has ended since it was asked last, without waiting."""


class _Threads:
    """A channel's own threads, each with one message at a time."""

    def __init__(self, name: str, slots: int, attempt: Callable[[Claimed], Outcome]) -> None:
        self._threads = ThreadPoolExecutor(slots, thread_name_prefix=f"delivery-{name}")
        self._attempt = attempt
        self.futures: dict[Future[Outcome], Claimed] = {}

    @property
    def flying(self) -> Collection[Claimed]:
        return self.futures.values()

    def begin(self, claimed: Claimed) -> None:
        self.futures[self._threads.submit(self._attempt, claimed)] = claimed

    def landed(self) -> list[Ended]:
        return [_landed(future, self.futures.pop(future)) for future in list(self.futures) if future.done()]


class _Driven:
    """A channel that carries many at once, as long as it is driven."""

    def __init__(
        self,
        exchange: Exchange,
        render: Callable[[Claimed], Message],
        judge: Callable[[Claimed, Evidence | Exception], Outcome],
    ) -> None:
        self.exchange = exchange
        self._render = render
        self._judge = judge
        self._flying: dict[str, Claimed] = {}
        self._landed: list[Ended] = []

    @property
    def flying(self) -> Collection[Claimed]:
        return self._flying.values()

    @property
    def down(self) -> int:
        """How many have ended that `landed` has not returned."""
        return len(self._landed)

    @property
    def up(self) -> int:
        """How many have not ended."""
        return len(self._flying) - len(self._landed)

    def begin(self, claimed: Claimed) -> None:
        message = rendered(lambda: self._render(claimed), claimed.key)
        self._flying[claimed.key] = claimed
        if isinstance(message, Outcome):
            self._end(claimed.key, message)
            return
        try:
            self.exchange.begin(message)
        except Exception as error:
            self._end(claimed.key, self._judge(claimed, error))

    def drive(self, seconds: float) -> None:
        """Go on until something ended, somebody woke it, or for so long."""
        for key, result in self.exchange.ended(seconds):
            self._end(key, self._judge(self._flying[key], result))

    def landed(self) -> list[Ended]:
        found, self._landed = self._landed, []
        for ended in found:
            del self._flying[ended.claimed.key]
        return found

    def _end(self, key: str, outcome: Outcome) -> None:
        self._landed.append(Ended(claimed=self._flying[key], outcome=outcome))


class Lanes:
    """All channels' lanes.

    Parameters
    ----------
    slots : int
        So many messages are under way at once on each at most; keeping to it is the caller's business.
    attempt, render, judge : callables
        Do the whole of an attempt; put its message together; say what the channel's answer means.
    """

    def __init__(
        self,
        channels: Mapping[str, Channel],
        slots: int,
        *,
        attempt: Callable[[Claimed], Outcome],
        render: Callable[[Claimed], Message],
        judge: Callable[[Claimed, Evidence | Exception], Outcome],
    ) -> None:
        self._slots = slots
        self._threads: dict[str, _Threads] = {}
        self._driven: dict[str, _Driven] = {}
        for name, channel in channels.items():
            if isinstance(channel, ManyAtOnce):
                self._driven[name] = _Driven(channel.exchange(), render, judge)
            else:
                self._threads[name] = _Threads(name, slots, attempt)
        self._lanes: dict[str, _Lane] = {**self._driven, **self._threads}
        self._heard: set[Future[Any]] = set()  # those that ring when they are done

    @property
    def flying(self) -> list[Claimed]:
        """What was begun and `landed` has not returned."""
        return [claimed for lane in self._lanes.values() for claimed in lane.flying]

    def free(self, name: str) -> int:
        """Return how many messages can begin on a lane at once."""
        return self._slots - len(self._lanes[name].flying)

    def begin(self, claimed: Claimed) -> None:
        """Begin an attempt."""
        self._lanes[claimed.outreach.channel].begin(claimed)

    def wait(self, seconds: float, besides: Collection[Future[Any]]) -> bool:
        """Wait until an attempt ended, and those that end together with it, or something else did; False: none did."""
        others: set[Future[Any]] = {*besides, *(one for lane in self._threads.values() for one in lane.futures)}
        driven = [lane for lane in self._driven.values() if lane.flying]
        return self._drive(driven, others, seconds) if driven else self._wait(others, seconds)

    def landed(self) -> list[Ended]:
        """Return the attempts that ended since it was asked last."""
        return [ended for lane in self._lanes.values() for ended in lane.landed()]

    def _wait(self, others: set[Future[Any]], seconds: float) -> bool:
        done, flying = wait(others, timeout=seconds, return_when=FIRST_COMPLETED)
        # As many again as make a transaction worth its while, in the order in which they were begun.
        more = [future for lane in self._threads.values() for future in lane.futures if not future.done()]
        begun = sum(len(lane.futures) for lane in self._threads.values())
        if done and more and flying:
            wait(more[: max(self._slots * 3 // 4 - (begun - len(more)), 0)], timeout=TOGETHER_SECONDS)
        return bool(done)

    def _drive(self, driven: list[_Driven], others: set[Future[Any]], seconds: float) -> bool:
        self._heard &= others
        for future in others - self._heard:
            future.add_done_callback(self._ring)
        self._heard |= others
        until = time.monotonic() + seconds
        together = False
        while True:
            landed = sum(lane.down for lane in driven)
            done = any(future.done() for future in others)
            if (landed or done) and not together:
                together, until = True, min(until, time.monotonic() + TOGETHER_SECONDS)
            left = until - time.monotonic()
            if landed >= max(self._slots * 3 // 4, 1) or left <= 0 or not any(lane.up for lane in driven):
                return landed > 0 or done
            for lane in driven:
                lane.drive(left if len(driven) == 1 else min(left, TURN_SECONDS))

    def _ring(self, _done: Future[Any]) -> None:
        for lane in self._driven.values():
            lane.exchange.wake()


def _landed(future: Future[Outcome], claimed: Claimed) -> Ended:
    try:
        outcome = future.result()
    except BaseException as error:  # whatever it was, the message may have left
        log.error("attempt_broke", key=claimed.key, error=type(error).__name__)
        reason = f"the attempt broke: {type(error).__name__}"
        outcome = Outcome(state=DeliveryState.UNCERTAIN, reason=reason)
    return Ended(claimed=claimed, outcome=outcome)
