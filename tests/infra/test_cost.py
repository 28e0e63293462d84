# SPDX-License-Identifier: Apache-2.0
"""What a deployment costs: prices in, arithmetic that can be checked by hand, and what the document says of it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from bills import NOTHING, PRICES, alone, changed, invoked, prose
from typer.testing import CliRunner

from dropfit.errors import SettingsError
from infra.deploy import cost, usage
from infra.deploy.cost import Price, month, read_prices, total
from infra.deploy.sizes import DAYS, SIZES, VARIANTS, Size
from infra.deploy.usage import GIB, MONTH, Use

# ---- the arithmetic


def test_what_is_free_is_free_once() -> None:
    price = Price(price=2.0, unit="x", free=100.0, page="", source="memory", date="2026-11")
    lines = cost.bill([Use("a", "p", 80.0, ""), Use("b", "p", 70.0, ""), Use("c", "p", 5.0, "")], {"p": price})
    assert [line.free for line in lines] == [80.0, 20.0, 0.0]
    assert [line.amount for line in lines] == [0.0, 100.0, 10.0]


def test_a_price_may_be_for_many_units() -> None:
    price = Price(price=0.40, per=1e6, unit="requests", free=2e6, page="", source="memory", date="2026-11")
    [line] = cost.bill([Use("a", "p", 7e6, "")], {"p": price})
    assert line.amount == pytest.approx(2.0)


BY_HAND: dict[str, tuple[Size, float]] = {
    # 60 requests an hour, so rarely together that each is billed its 0.1 s; two starts of 5 s; 2 vCPU, 4 GiB.
    "run_cpu": (changed(NOTHING, predictions_per_day=24, starts=2, vcpu=2), (24 * DAYS * 0.1 + 2 * 5) * 2),
    "run_memory": (changed(NOTHING, predictions_per_day=24, starts=2, gib=4), (24 * DAYS * 0.1 + 2 * 5) * 4),
    "run_requests": (
        changed(NOTHING, predictions_per_day=1000, uptime_regions=3, uploads=7),
        1000 * DAYS + 3 * 2922 + 7,
    ),
    "idle_cpu": (changed(NOTHING, min_instances=2, vcpu=4), 2 * 4 * 2_629_800),
    "idle_memory": (changed(NOTHING, min_instances=2, gib=0.5), 2 * 0.5 * 2_629_800),
    # 10 trainings of 20 s count for a minute each, on 2 vCPU and 8 GiB.
    "job_cpu": (changed(NOTHING, uploads=10, retrain_seconds=20), 10 * 60 * 2),
    "job_memory": (changed(NOTHING, uploads=10, retrain_seconds=120), 10 * 120 * 8),
    "storage": (changed(NOTHING, uploads=DAYS, upload_mb=100, version_mb=20, months=1), (DAYS * 130 + 7) * 1e6 / GIB),
    "storage_writes": (changed(NOTHING, uploads=10, sweeps_per_day=1), 10 * (63 + 2) + DAYS * 6),
    "storage_reads": (changed(NOTHING, uploads=10, sweeps_per_day=1, starts=3), 10 * (115 + 4) + DAYS * 9 + 3 * 13),
    "tables": (changed(NOTHING, uploads=1, table_rows=1e6, tables=6), 6 * 120e6 / GIB),
    "queries": (changed(NOTHING, queried_gib=5, uploads=2, table_rows=1e6), 5 + 2 * 10 * 120e6 / GIB),
    "logs": (
        changed(NOTHING, predictions_per_day=1e6, log_share=0.5),
        1e6 * DAYS * (0.5 * (664 + 700) + 1100) / GIB,
    ),
    "logs_kept": (changed(NOTHING, predictions_per_day=1e6, log_days=90), 2 * 1e6 * DAYS * (664 + 700) / GIB),
    # A point a minute of each of five series: 43,830 of 8 bytes, and of 80.
    "metrics": (changed(NOTHING, uploads=1, counters=2, distributions=1), 43_830 * 5 * (2 * 8 + 80) / 2**20),
    "uptime_checks": (changed(NOTHING, uptime_regions=6, uptime_seconds=60), 6 * 43_830),
    "alert_conditions": (changed(NOTHING, conditions=9), 9),
    "alert_points": (changed(NOTHING, conditions=2), 2 * 87_660),
    "images": (changed(NOTHING, releases=10), 10 * (0.30 + 0.15 + 0.15)),
    "build_minutes": (changed(NOTHING, deploys=4, build_minutes=25), 100),
    "pipeline_minutes": (changed(NOTHING, builds=3, pipeline_minutes=20), 60),
    "schedules": (changed(NOTHING, schedules=2), 2),
    "messages": (changed(NOTHING, uploads=2**10), 2**10 * 2 * 4096 / GIB),
    "internet": (changed(NOTHING, predictions_per_day=1e6, outside=0.5), 1e6 * DAYS * 0.5 * 544 / GIB),
}


def test_every_price_has_an_example_by_hand() -> None:
    assert set(BY_HAND) == set(PRICES)


@pytest.mark.parametrize("name", BY_HAND)
def test_its_quantity_is_what_is_computed_by_hand(name: str) -> None:
    size, quantity = BY_HAND[name]
    made = total(month(size, alone(name)))
    assert made == pytest.approx(quantity, rel=1e-3), f"{PRICES[name].unit} of {name}"
    assert total(month(size, alone(name, price=3.0))) == pytest.approx(3 * made)


def test_an_event_is_billed_for_its_start_and_half_a_gib() -> None:
    ten = changed(NOTHING, uploads=10)
    assert total(month(ten, alone("run_cpu"))) == pytest.approx(10 * (1 + 5))
    assert total(month(ten, alone("run_memory"))) == pytest.approx(10 * (1 + 5) / 2)


def test_cloud_runs_own_log_of_requests_costs_as_long_as_it_is_kept() -> None:
    some = changed(NOTHING, predictions_per_day=1e6, log_share=0.0)
    assert cost.items(month(some, alone("logs"))) == pytest.approx(
        {**cost.items(month(NOTHING, PRICES)), "request log": 1e6 * DAYS * 1100 / GIB}
    )
    assert total(month(changed(some, request_log=False), alone("logs"))) == 0.0


def test_other_projects_use_up_what_is_free_for_the_account_and_not_what_is_free_for_a_project() -> None:
    taken = cost.unfree(PRICES)
    assert {name for name, price in taken.items() if price.free} == {"logs", "uptime_checks"}
    assert {name: price.price for name, price in taken.items()} == {name: p.price for name, p in PRICES.items()}


def test_an_instance_is_never_billed_for_more_than_the_month() -> None:
    busy = changed(NOTHING, predictions_per_day=1e7)
    assert usage.instances(busy) == 1
    assert total(month(busy, alone("run_cpu"))) == pytest.approx(MONTH, rel=1e-3)
    assert total(month(changed(busy, min_instances=1), alone("idle_cpu"))) < 0.001 * MONTH


def test_more_instances_are_billed_when_the_busiest_second_needs_them() -> None:
    # 100 M a day are 1,157 a second, at the peak three times that: with 149 us each 0.52 vCPU, each 0.3 busy.
    assert usage.instances(changed(NOTHING, predictions_per_day=1e8)) == 2
    assert usage.instances(changed(NOTHING, predictions_per_day=1e8, vcpu=2)) == 1


def test_the_pointer_is_looked_at_once_a_second_at_most() -> None:
    busy = changed(NOTHING, predictions_per_day=1e7)
    assert 0.98 * MONTH < total(month(busy, alone("storage_reads"))) <= MONTH
    rare = changed(NOTHING, predictions_per_day=24)
    assert total(month(rare, alone("storage_reads"))) == pytest.approx(24 * DAYS, rel=1e-3)


# ---- how it behaves

MORE = [
    *("predictions_per_day", "uploads", "upload_mb", "retrain_seconds", "table_rows", "queried_gib", "deploys"),
    *(
        "sweeps_per_day",
        "log_share",
        "log_days",
        "uptime_regions",
        "conditions",
        "releases",
        "min_instances",
        "starts",
    ),
]


@pytest.mark.parametrize("shared", [False, True], ids=["with free tiers", "without"])
@pytest.mark.parametrize("name", [name for name in SIZES if name != "idle"])
def test_using_more_never_lowers_a_bill(name: str, shared: bool) -> None:
    prices = cost.unfree(PRICES) if shared else PRICES
    size = SIZES[name]
    for field in MORE:
        amounts = [total(month(changed(size, **{field: getattr(size, field) * k}), prices)) for k in (1, 2, 4, 8)]
        assert amounts == sorted(amounts), field


def test_a_larger_size_costs_more() -> None:
    amounts = [total(month(size, PRICES)) for size in SIZES.values()]
    assert amounts == sorted(amounts)
    assert len(set(amounts)) == len(amounts)


def test_a_deployment_that_nobody_uses_costs_next_to_nothing() -> None:
    """What costs is alerts, whose conditions have a price of their own, and pennies of sweeping."""
    lines = month(SIZES["idle"], PRICES)
    spent = {item: amount for item, amount in cost.items(lines).items() if amount}
    assert set(spent) <= {"alerts", "sweep job", "images", "Cloud Storage"}
    assert spent.pop("alerts") < 2.0
    assert sum(spent.values()) < 0.20
    # Without free tiers it is the sweep job's minute, 96 times a day, above all.
    alone_in_the_account = cost.items(month(SIZES["idle"], cost.unfree(PRICES)))
    assert max(alone_in_the_account, key=lambda item: alone_in_the_account[item]) == "sweep job"
    assert sum(alone_in_the_account.values()) < 10.0


def test_nothing_at_all_costs_nothing() -> None:
    assert total(month(NOTHING, cost.unfree(PRICES))) == 0.0


def test_with_ten_million_predictions_a_day_their_log_is_the_largest_item_and_log_share_lowers_it() -> None:
    spent = cost.items(month(SIZES["large"], PRICES))
    assert max(spent, key=lambda item: spent[item]) == "prediction log"
    less = cost.items(month(VARIANTS["large, `DROPFIT_LOG_SHARE=0.1`"], PRICES))
    assert less["prediction log"] == 0.0
    unlogged = cost.items(month(changed(SIZES["large"], log_share=0.0), cost.unfree(PRICES)))
    assert unlogged["prediction log"] == 0.0


@pytest.mark.parametrize(("a_day", "cheaper"), [(8e5, "requests"), (1e6, "instances")])
def test_billing_by_instances_pays_from_about_900_000_predictions_a_day(a_day: float, cheaper: str) -> None:
    team = changed(SIZES["team"], predictions_per_day=a_day)
    amounts = {billing: total(month(changed(team, billing=billing), PRICES)) for billing in ("requests", "instances")}
    assert min(amounts, key=lambda billing: amounts[billing]) == cheaper
    assert "break-even is near 900,000 predictions a day" in prose()


# ---- prices are inputs


def test_a_file_of_prices_needs_only_what_differs(tmp_path: Path) -> None:
    file = tmp_path / "ours.toml"
    file.write_text("[logs]\nprice = 0.25\n")
    read = read_prices(file)
    assert read["logs"].price == 0.25
    assert read["logs"].free == PRICES["logs"].free
    assert {n: p for n, p in read.items() if n != "logs"} == {n: p for n, p in PRICES.items() if n != "logs"}
    made = json.loads(invoked("--size", "large", "--json", "--prices", str(file)))
    before = json.loads(invoked("--size", "large", "--json"))
    assert made["large"]["total"] < before["large"]["total"] - 100


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[coffee]\nprice = 3\n", "no such prices: coffee. There are: alert_conditions"),
        ("[logs]\nprize = 3\n", "unknown field `prize`"),
        ("[logs]\nprice = -1\n", "logs: price and free are 0 or more"),
        ("[logs]\nprice = nan\n", "logs: price and free are 0 or more"),
        ("[logs]\nper = 0\n", "per is more than 0"),
        ("[logs]\nprice = 'much'\n", "Expected `float`, got `str`"),
        ("logs = 0.5\n", "logs stands outside of any"),
        ("logs:", "cannot be read as TOML"),
    ],
)
def test_prices_that_are_none_are_refused(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "bad.toml").write_text(text)
    with pytest.raises(SettingsError, match=re.escape(says)) as refused:
        read_prices(tmp_path / "bad.toml")
    assert "bad.toml" in str(refused.value)
    result = CliRunner().invoke(cost.app, ["--prices", str(tmp_path / "bad.toml")])
    assert result.exit_code != 0


def test_a_price_file_that_is_not_there_is_no_broken_toml(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"none\.toml cannot be read: No such file"):
        read_prices(tmp_path / "none.toml")


def test_every_price_says_where_to_check_it() -> None:
    for name, price in PRICES.items():
        assert re.fullmatch(r"https://cloud\.google\.com/[a-z-]+/pricing", price.page), name
        assert (price.free > 0) == (price.shared is not None), name


# ---- the command


def test_the_command_refuses_a_size_that_there_is_not() -> None:
    result = CliRunner().invoke(cost.app, ["--size", "huge"])
    assert result.exit_code != 0
    assert "idle, hobby, team, large" in str(result.exception)


def test_json_is_the_bill_with_its_total() -> None:
    made = json.loads(invoked("--json"))
    assert list(made) == list(SIZES)
    for name, said in made.items():
        assert said["total"] == pytest.approx(sum(line["amount"] for line in said["lines"]))
        assert said["total"] == pytest.approx(total(month(SIZES[name], PRICES)))


def test_tables_fit_a_terminal_and_show_every_line_that_is_used() -> None:
    for arguments in ((), ("--size", "team"), ("--size", "large", "--no-free")):
        assert max(len(line) for line in invoked(*arguments).splitlines()) <= 80
    shown = invoked("--size", "team")
    used = [line for line in month(SIZES["team"], PRICES) if line.used]
    assert sum(shown.count(f"\n {item} ") for item in {line.item for line in used}) == len(used)
