"""A network that passed and was taken out is not shown as if all were well: who ordered it, when and why is said."""

import io
from datetime import UTC, date, datetime

import psycopg
from rich.console import Console

from ldtm_cli.commands.registry import model_cards, print_model_cards, print_registry, registry_rows
from ldtm_lib.project import Project
from ldtm_lib.registry.gate_run import promotion_card, run_gate
from ldtm_lib.registry.lifecycle import retire, rollback
from tests.integration.registry.registry_fixtures import SMALL, Registry

MONDAY, TUESDAY, WEDNESDAY = date(2012, 12, 3), date(2012, 12, 4), date(2012, 12, 5)
WHY = "42 of 100 right"


def today() -> str:
    """Orders are dated by the database, in UTC; a test that runs over midnight is run again."""
    return f"{datetime.now(UTC):%Y-%m-%d}"


def promoted(registry: Registry, *days: date, ticker: str = "AAA") -> None:
    for day in days:
        registry.candidate(ticker, day, weights=day.day, tested=registry.good)
        assert registry.gate(ticker)[ticker].outcome == "promoted"


def take_out(registry: Registry, ticker: str = "AAA") -> None:
    with registry.database.transaction() as conn:
        retire(conn, ticker, requested_by="policy registry.degradation_policy", why=WHY)


def roll_back(registry: Registry, to: str | None = None) -> None:
    with registry.database.transaction() as conn:
        rollback(conn, registry.folder, "AAA", to=to, requested_by="ada", why="it is worse.", architecture=SMALL)


def project(registry: Registry) -> Project:
    return Project(settings=registry.settings, home=registry.folder, database=registry.database)


def listed(registry: Registry) -> tuple[list[str | None], str]:
    """The lifecycle actions of the listing, and the listing in words."""
    rows, shown = registry_rows(project(registry)), io.StringIO()
    print_registry(Console(file=shown, width=400), rows)
    return [row["out_of_service"] for row in rows], shown.getvalue()


def shown(registry: Registry) -> str:
    out = io.StringIO()
    print_model_cards(Console(file=out, width=400), model_cards(project(registry), "AAA"))
    return out.getvalue()


def test_a_retired_ticker_says_so_at_the_gate_on_its_card_and_in_the_lists(registry: Registry) -> None:
    promoted(registry, MONDAY)
    fine = registry.gate("AAA")["AAA"]
    assert (fine.outcome, fine.is_out_of_service) == ("already promoted", False)
    assert listed(registry)[0] == [None]
    take_out(registry)
    order = f"AAA v1.2012-12-03 was retired on {today()} by policy registry.degradation_policy: 42 of 100 right"
    again = registry.gate("AAA")["AAA"]
    assert (again.outcome, again.is_out_of_service, again.is_news) == ("already promoted", True, False)
    assert again.message == f"{order}; it abstains until another one passes"
    card = promotion_card(again)
    assert card[0] == f"{again.message}."
    assert "not promoted" not in " ".join(card)
    assert card[1].startswith("Direction right on 115 of 200 days")
    actions, table = listed(registry)
    assert actions == [order]
    assert order in table
    assert "every rule passed" not in table
    assert shown(registry).startswith("AAA v1.2012-12-03, retired, judged ")
    assert f"· {order}." in shown(registry)
    assert "not active" not in shown(registry)


def test_a_ticker_that_was_rolled_back_says_to_what(registry: Registry) -> None:
    promoted(registry, MONDAY, TUESDAY)
    roll_back(registry)
    order = f"AAA v1.2012-12-04 was rolled back to v1.2012-12-03.2 on {today()} by ada: it is worse."
    again = registry.gate("AAA")["AAA"]
    assert (again.is_out_of_service, again.version) == (True, "v1.2012-12-03.2")
    assert again.message == f"{order}; v1.2012-12-03.2 stays active until another one passes"
    assert listed(registry)[0] == [order]
    active, other = shown(registry).split("AAA v1.2012-12-04, retired")
    assert active.startswith("AAA v1.2012-12-03.2, active")
    assert f"· {order}\n" in "\n".join(line.rstrip() for line in other.splitlines()), "with one full stop"


def test_where_the_network_that_came_back_is_retired_as_well_both_actions_are_named(registry: Registry) -> None:
    promoted(registry, MONDAY, TUESDAY)
    roll_back(registry)
    take_out(registry)
    again = registry.gate("AAA")["AAA"]
    assert again.message == (
        f"AAA v1.2012-12-04 was rolled back to v1.2012-12-03.2 on {today()} by ada: it is worse.; "
        f"AAA v1.2012-12-03.2 was retired on {today()} by policy registry.degradation_policy: 42 of 100 right; "
        "it abstains until another one passes"
    )


def test_a_network_that_is_active_again_or_was_followed_by_another_one_is_in_service(registry: Registry) -> None:
    promoted(registry, MONDAY, TUESDAY)
    roll_back(registry)
    roll_back(registry, "v1.2012-12-04")
    again = registry.gate("AAA")["AAA"]
    assert (again.version, again.is_out_of_service) == ("v1.2012-12-04.2", False)
    assert again.message == "AAA has nothing new: its newest network was promoted before"
    assert listed(registry)[0] == [None]
    take_out(registry)
    assert registry.gate("AAA")["AAA"].message.startswith("AAA v1.2012-12-04.2 was retired on ")
    promoted(registry, WEDNESDAY)
    assert not registry.gate("AAA")["AAA"].is_out_of_service
    assert listed(registry)[0] == [None]


def test_a_refused_candidate_does_not_hide_the_action_that_left_its_ticker_without_a_model(registry: Registry) -> None:
    promoted(registry, MONDAY)
    take_out(registry)
    registry.candidate("AAA", TUESDAY, weights=1, tested=registry.bad)
    refused = registry.gate("AAA")["AAA"]
    assert (refused.outcome, refused.is_out_of_service) == ("stays candidate", False)
    (order,), table = listed(registry)
    assert order == f"AAA v1.2012-12-03 was retired on {today()} by policy registry.degradation_policy: 42 of 100 right"
    assert str(order) in table
    assert "99 of 200" in table
    retired, candidate = shown(registry).split("AAA, not active")
    assert retired.startswith("AAA v1.2012-12-03, retired")
    assert "it failed 2 of 8 rules" in candidate


class CountingCursor(psycopg.Cursor):
    num_statements = 0

    def execute(self, *args, **kwargs):
        CountingCursor.num_statements += 1
        return super().execute(*args, **kwargs)


def test_actions_are_read_in_a_number_of_statements_that_does_not_grow_with_the_tickers(registry: Registry) -> None:
    many = [f"T{n}" for n in range(4)]
    registry.settings = registry.settings.replace(tickers=(*registry.settings.tickers, *many))

    def num_statements(tickers: list[str]) -> int:
        for ticker in tickers:
            promoted(registry, MONDAY, ticker=ticker)
            take_out(registry, ticker)
        CountingCursor.num_statements = 0
        with registry.database.connect() as counted:
            counted.cursor_factory = CountingCursor
            results = run_gate(
                counted, registry.folder, tickers, registry.settings, degraded=(), run_id="test"
            ).promotions
        assert all(result.is_out_of_service for result in results)
        return CountingCursor.num_statements

    assert 5 < num_statements(["AAA"]) == num_statements(many)
