"""A whole production behind a proxy that loses, cuts, delays and repeats: it ends right by itself."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from grid.farm.home import read_state, write_state
from grid.farm.session import attach
from tests.services.lossy import FAULTS, LossyProxy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.grid.scene import Scene

pytestmark = [pytest.mark.farm, pytest.mark.slow]


def every_third(seed: int) -> Iterator[str]:
    """Nothing, nothing, and a fault by chance."""
    chance = random.Random(seed)
    while True:
        yield from ("", "", chance.choice(list(FAULTS)))


def test_every_third_reply_goes_wrong(scene: Scene) -> None:
    with attach(scene.home.root) as session:
        state = read_state(session.home.gateway)
        assert state is not None
        with LossyProxy(state["port"]) as proxy, proxy.doing(every_third(1)):
            # Workers, dispatcher and command are started after this, and find the proxy where the gateway was.
            write_state(session.home.gateway, {**state, "url": proxy.url, "port": proxy.port})
            scene.open_gate()
            with scene.running() as child:
                scene.finish(child)
        assert all(proxy.done.values()), proxy.done
    scene.prove()
