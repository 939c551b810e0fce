"""What `ldtm registry show` reads: the verdict on the active model, and the newest one on another network."""

from datetime import date

from ldtm_lib.database.connection import Connection
from ldtm_lib.registry.lifecycle import rollback
from ldtm_lib.registry.listing import JudgedNetwork, judged_networks
from tests.integration.registry.registry_fixtures import SMALL, Registry

MONDAY, TUESDAY, WEDNESDAY = date(2012, 12, 3), date(2012, 12, 4), date(2012, 12, 5)


def shown(conn: Connection, ticker: str) -> list[tuple[str | None, bool, float | None]]:
    """Version, whether it passed, and its accuracy, of each network that is shown."""

    def accuracy(network: JudgedNetwork) -> float | None:
        return network.verdict.evidence.accuracy if network.verdict.evidence else None

    networks = judged_networks(conn, ticker)
    conn.rollback()
    return [(network.version, network.verdict.passed, accuracy(network)) for network in networks]


def test_an_active_network_and_a_newer_candidate_are_shown_with_their_evidence(
    registry: Registry, conn: Connection
) -> None:
    assert shown(conn, "AAA") == []
    registry.candidate("AAA", MONDAY, tested=registry.good)
    registry.gate("AAA")
    assert shown(conn, "AAA") == [("v1.2012-12-03", True, 0.575)]
    registry.candidate("AAA", TUESDAY, weights=1, tested=registry.bad)
    registry.gate("AAA")
    assert shown(conn, "AAA") == [("v1.2012-12-03", True, 0.575), (None, False, 0.495)]
    registry.candidate("AAA", WEDNESDAY, weights=2, tested=registry.good)
    registry.gate("AAA")
    assert shown(conn, "AAA") == [("v1.2012-12-05", True, 0.575)], "an older candidate's verdict is no news any more"


def test_a_network_that_came_back_is_shown_with_the_verdict_that_it_earned(
    registry: Registry, conn: Connection
) -> None:
    registry.candidate("AAA", MONDAY, tested=registry.good)
    registry.gate("AAA")
    registry.candidate("AAA", TUESDAY, weights=1, tested=registry.good)
    registry.gate("AAA")
    with registry.database.transaction() as connection:
        rollback(
            connection, registry.folder, "AAA", to=None, requested_by="test", why="it was better", architecture=SMALL
        )
    back, other = shown(conn, "AAA")
    assert back == ("v1.2012-12-03.2", True, 0.575)
    assert other == (None, True, 0.575), "the newer one, which passed and was taken out by hand"


def test_a_ticker_without_a_network_is_shown_with_the_reason(registry: Registry, conn: Connection) -> None:
    registry.gate("ZZZ")
    (network,) = judged_networks(conn, "ZZZ")
    assert (network.version, network.verdict.evidence, network.verdict.multiple_testing) == (None, None, None)
    assert [rule.reason for rule in network.verdict.failures] == ["ZZZ was not trained: no training of it is on record"]
