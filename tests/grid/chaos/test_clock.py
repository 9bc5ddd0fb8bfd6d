"""The database's clock jumps an hour ahead and back while a production runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.grid.chaos.stage import Stage
from tests.grid.chaos.strikes import Disturber

if TYPE_CHECKING:
    from pathlib import Path

    from tests.services.postgres import Postgres

pytestmark = [pytest.mark.farm, pytest.mark.slow, pytest.mark.timeout(400)]

HOUR_S = 3600


class Clock:
    """A database whose ``clock_timestamp()`` is ours: it is found before the server's own."""

    def __init__(self, server: Postgres) -> None:
        self._server = server
        self.url = server.make()
        name = self.url.rpartition("?")[0].rpartition("/")[2]
        server.run(
            self.url,
            "CREATE SCHEMA chaos",
            "CREATE TABLE chaos.clock (ahead_s double precision)",
            "INSERT INTO chaos.clock VALUES (0)",
            "CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE SQL AS"
            " 'SELECT pg_catalog.clock_timestamp() + ahead_s * interval ''1 s'' FROM chaos.clock'",
            f"ALTER DATABASE {name} SET search_path = public, pg_catalog",
        )

    def set(self, ahead_s: float) -> None:
        self._server.run(self.url, f"UPDATE chaos.clock SET ahead_s = {ahead_s}")


def test_a_clock_that_jumps(tmp_path: Path, postgres: Postgres) -> None:
    clock = Clock(postgres)
    stage = Stage(tmp_path, clock.url, files=30)
    disturber = Disturber(stage)
    with stage.running():
        for number, ahead_s in enumerate((HOUR_S, 0, -HOUR_S, HOUR_S, 0)):
            stage.until_done(5 + 12 * number)
            clock.set(ahead_s)
            # What they held has to come back by its lease, whatever the clock says by then.
            disturber.kill(("dispatcher", "gateway")[number % 2])
        stage.finish()
    moments = stage.sql.rows("SELECT min(started), max(started) FROM attempt")
    assert moments[0][1] - moments[0][0] > HOUR_S, "the clock did jump"
