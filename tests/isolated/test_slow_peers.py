# SPDX-License-Identifier: MIT
"""A short crowd of slow peers; `make slow-peers` runs the long one."""

import pytest
import slow_peers

pytestmark = pytest.mark.once

# So few need little time, and of so few measurements one in a hundred is what
# a busy machine did to one server and not to the other.
PLAN = slow_peers.Plan(
    peers=500, measured=1.0, deadline=3.0, slack=30.0, floor=0.1
)


def test_slow_peers_disturb_nobody() -> None:
    assert slow_peers.enough_descriptors(PLAN.peers)
    assert slow_peers.prove(PLAN, "asyncio") == []
