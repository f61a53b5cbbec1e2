"""The running Slack that end-to-end tests share within a module, and the proxy that makes it fail."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.peers.local_slack import LocalSlack
from tests.peers.slack_proxy import FaultProxy, fault_proxy
from tests.slack_world import start_peer


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSlack]:
    """A workspace that talks Socket Mode; modules that need another define their own."""
    running = start_peer(tmp_path_factory.mktemp("slack"))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def proxy(peer: LocalSlack) -> Iterator[FaultProxy]:
    """The fault proxy before that workspace."""
    with fault_proxy(peer.base_url) as running:
        yield running
