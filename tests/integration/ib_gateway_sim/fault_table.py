"""Which test shows what a command or an option does to a client that does not reckon with it.

`python -m tests.integration.ib_gateway_sim.fault_table` prints the table. Victims that `test_victims.py` walks are in
`victims.py`; here is what has a test of its own, as `file::test`, and what nobody can fall for, with the reason.
`tests/contract/test_faults.py` holds it against the simulator's commands and options, and against the tests.
"""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.integration.ib_gateway_sim.victims import VICTIMS

ROOT = Path(__file__).parents[3]
_HERE = "tests/integration/ib_gateway_sim"
_ORDERS, _LIVE, _OUTAGES = (
    f"{_HERE}/test_order_faults.py",
    f"{_HERE}/test_live_and_history.py",
    f"{_HERE}/test_live_outages.py",
)
_SETTINGS, _OPTIONS = f"{_HERE}/test_live_settings.py", f"{_HERE}/test_options.py"
_BACKFILL = "tests/integration/backfill/test_fault_injection.py"

ELSEWHERE: dict[str, str] = {
    # ---- orders
    "ack_delay": f"{_ORDERS}::test_words_come_late_and_in_their_order",
    "ack_lose": f"{_ORDERS}::test_an_order_whose_acknowledgement_is_lost_lives",
    "status_duplicate": f"{_ORDERS}::test_a_status_comes_twice_or_never",
    "status_skip": f"{_ORDERS}::test_a_status_comes_twice_or_never",
    "shuffle": f"{_ORDERS}::test_words_of_one_event_are_shuffled_and_the_same_each_time",
    "master": f"{_ORDERS}::test_the_master_client_hears_of_everybody_and_client_0_by_choice",
    "eat_order": f"{_ORDERS}::test_orders_that_the_gateway_eats_never_were",
    "reject_order": f"{_ORDERS}::test_an_order_is_refused_by_choice",
    "what_if_lose": f"{_ORDERS}::test_a_what_if_order_is_refused_or_not_answered_by_choice",
    "what_if_refuse": f"{_ORDERS}::test_a_what_if_order_is_refused_or_not_answered_by_choice",
    "margin": f"{_ORDERS}::test_margin_can_rise",
    "locate": f"{_ORDERS}::test_a_short_sale_waits_for_its_shares_and_lives",
    "halt": f"{_ORDERS}::test_a_halt_by_command_ends_after_its_time",
    "precaution": f"{_ORDERS}::test_a_warning_in_tws_holds_an_order_without_a_word_until_it_is_clicked",
    "click": f"{_ORDERS}::test_a_warning_in_tws_holds_an_order_without_a_word_until_it_is_clicked",
    "preset": f"{_ORDERS}::test_a_preset_changes_the_order_and_says_so",
    "read_only": f"{_ORDERS}::test_the_box_read_only_is_ticked_and_unticked",
    "ids_rollback": f"{_ORDERS}::test_ids_that_are_rolled_back_meet_orders_of_before",
    "ids_reset": f"{_ORDERS}::test_ids_that_are_rolled_back_meet_orders_of_before",
    "fill_plan": f"{_ORDERS}::test_an_order_fills_by_its_plan_and_not_otherwise",
    "fill_now": f"{_ORDERS}::test_an_order_fills_by_command_whatever_the_market_is",
    "fill_after_cancel": f"{_ORDERS}::test_a_fill_comes_after_cancelled",
    "manual_order": f"{_ORDERS}::test_a_manual_order_has_no_id_and_no_reference",
    "manual_fill": f"{_ORDERS}::test_a_manual_order_has_no_id_and_no_reference",
    "manual_cancel": f"{_ORDERS}::test_a_manual_order_has_no_id_and_no_reference",
    "twin": f"{_ORDERS}::test_one_order_becomes_two_live_ones",
    # ---- live data
    "late": f"{_LIVE}::test_trades_that_come_late_make_whoever_believes_live_bars_wrong",
    "odd_lots": f"{_LIVE}::test_odd_lots_make_live_volume_larger_than_history",
    "step_volume": f"{_LIVE}::test_volume_in_steps_is_right_over_half_an_hour_and_wrong_in_every_minute",
    "missing_bars": f"{_LIVE}::test_missing_bars_make_a_minute_that_looks_whole_wrong",
    "revise": f"{_LIVE}::test_a_live_minute_that_differs_from_history_and_its_revision",
    "bust": f"{_OUTAGES}::test_a_bust_ends_bars_until_the_old_id_is_cancelled",
    "mute": f"{_OUTAGES}::test_one_stream_is_silent_and_all_others_are_well",
    "live_delay": f"{_OUTAGES}::test_live_data_come_late_in_their_order_and_none_is_lost",
    "permission": f"{_SETTINGS}::test_permissions_and_types_of_market_data",
    "take_lines": f"{_SETTINGS}::test_lines_that_tws_takes_are_refused_though_the_client_counts_them_free",
    # ---- history: the client is the bridge, and what it has to get right is that a backfill ends complete
    **dict.fromkeys(("latency", "slow", "crawl", "silent", "short", "duplicate", "cut"), f"{_BACKFILL}::test_fault"),
    **dict.fromkeys(
        ("pacing", "history_error", "reject_next", "notice", "drop", "half_open"), f"{_BACKFILL}::test_fault"
    ),
    **dict.fromkeys(("accept", "hold_ids", "restart", "restart_daily", "login_needed"), f"{_BACKFILL}::test_fault"),
    **dict.fromkeys(("farm_down", "farm_inactive", "farm_flap", "lost", "restored"), f"{_BACKFILL}::test_fault"),
    **dict.fromkeys(("reset_window", "live_lost", "competing", "set_clock"), f"{_BACKFILL}::test_fault"),
    "split": f"{_BACKFILL}::test_a_split_makes_older_bars_stale_and_they_are_fetched_again",
}
# Command -> why nobody can fall for it.
NO_FAULT: dict[str, str] = {
    **dict.fromkeys(("help", "received", "sent", "orders_save", "clients", "weather", "clock", "volume_unit"), "asks"),
    **dict.fromkeys(("forget", "orders_load", "scenario", "clear", "advance", "rate"), "moves a test on"),
    **dict.fromkeys(("farm_up", "login"), "ends a fault"),
}
# Option -> the test in which a client reckons with its default alone, for every value that can be chosen.
OPTIONS: dict[str, str] = {
    "--latency": f"{_OPTIONS}::test_answers_take_their_time",
    "--read-only": f"{_OPTIONS}::test_a_gateway_may_be_read_only",
    "--lines": f"{_HERE}/test_streams.py::test_lines_tick_streams_and_depth_are_limited_over_all_clients",
    "--max-clients": f"{_OPTIONS}::test_so_many_clients_and_no_more",
    "--reject-rate": f"{_HERE}/test_server.py::test_in_reject_mode_the_third_violation_is_the_end",
    "--steps": f"{_HERE}/test_history.py::test_the_old_table_of_steps_by_a_switch",
    "--login-zone": f"{_OPTIONS}::test_a_time_without_a_zone_is_of_the_login",
    "--date-zone": f"{_OPTIONS}::test_text_dates_name_their_zone",
    "--volume": f"{_OPTIONS}::test_volumes_are_shares_or_lots",
    "--live-slots": f"{_SETTINGS}::test_live_requests_hold_a_slot_of_fifty_or_not",
    "--rtb-book": f"{_SETTINGS}::test_bars_of_five_seconds_are_counted_with_small_bars_or_apart",
    "--lines-by": f"{_SETTINGS}::test_two_streams_of_a_contract_use_one_line_or_two",
    "--tick-pause": f"{_SETTINGS}::test_a_second_stream_of_ticks_of_an_instrument_waits_fifteen_seconds",
    "--empty-live": f"{_SETTINGS}::test_a_live_request_before_the_first_bar_is_refused_or_waits_for_it",
    "--live-cadence": f"{_SETTINGS}::test_each_class_has_its_cadence_where_that_is_asked_for",
    "--at-close": f"{_OUTAGES}::test_bars_may_end_with_their_trade_date",
    "--max-version": f"{_OPTIONS}::test_a_gateway_may_be_older_than_its_client",
    "--master-client": f"{_OPTIONS}::test_a_master_client_hears_of_others_orders",
    "--client-zero": f"{_ORDERS}::test_the_master_client_hears_of_everybody_and_client_0_by_choice",
    "--gone-clients": f"{_ORDERS}::test_an_order_that_was_read_is_worked_though_its_client_dies",
    "--halted": f"{_ORDERS}::test_what_is_halted_does_not_trade",
    "--children": f"{_ORDERS}::test_bracket_children_wake_at_a_full_or_a_partial_fill",
    "--left-children": f"{_ORDERS}::test_children_of_a_parent_that_ends_in_part_end_with_it_or_stay",
    "--twin-cancel": f"{_ORDERS}::test_a_second_cancel_reaches_the_other_of_two_orders_or_none",
    "--modify-cancelled": f"{_ORDERS}::test_the_code_for_a_change_of_a_cancelled_order_can_be_set",
    "--past-gtd": f"{_ORDERS}::test_what_is_not_established_can_be_set",
    "--price-range": f"{_ORDERS}::test_what_is_not_established_can_be_set",
    "--refused": f"{_ORDERS}::test_a_refused_order_is_inactive_and_has_used_its_id_up",
    "--state": f"{_HERE}/test_saving.py::test_a_killed_simulator_goes_on_where_the_last_word_was",
    "--accounts": f"{_HERE}/test_account.py::test_a_login_of_several_accounts_lists_them_and_keeps_them_apart",
}
# Option -> why nobody can fall for it.
NO_CHOICE: dict[str, str] = {
    **dict.fromkeys(("--host", "--port", "--control-port"), "where it listens"),
    **dict.fromkeys(("--seed", "--clock", "--start"), "which market, and when"),
    **dict.fromkeys(("--replay", "--replay-symbol", "--replay-class", "--replay-zone"), "what a file holds"),
    **dict.fromkeys(("--stamp", "--replay-price"), "what a file holds"),
    **dict.fromkeys(("--describe", "--help"), "tells, and ends"),
    "--scenario": "commands, each of which is above",
}


def table() -> Iterator[tuple[str, str]]:
    """(command or option, its test or the reason why it has none), in order of the alphabet."""
    rows = [(name, f"victims.py::{each.name}") for each in VICTIMS for name in each.commands]
    yield from sorted([*rows, *ELSEWHERE.items(), *NO_FAULT.items(), *OPTIONS.items(), *NO_CHOICE.items()])


@cache
def words_of(place: str) -> frozenset[str]:
    """What a test at `file::test` says: its texts, with those of the values of its module that it names, and the names of
    the arguments that it gives. KeyError where there is no such test."""
    file, _, name = place.partition("::")
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    tests = {each.name: each for each in tree.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)}
    named = {each.id for each in ast.walk(tests[name]) if isinstance(each, ast.Name)}
    values = [each for each in tree.body if isinstance(each, ast.Assign | ast.AnnAssign) and named & _targets(each)]
    nodes = [node for each in (tests[name], *values) for node in ast.walk(each)]
    texts = {str(node.value) for node in nodes if isinstance(node, ast.Constant)}
    return frozenset(texts | {node.arg for node in nodes if isinstance(node, ast.keyword) and node.arg})


def _targets(value: ast.Assign | ast.AnnAssign) -> set[str]:
    targets = value.targets if isinstance(value, ast.Assign) else [value.target]
    return {each.id for each in targets if isinstance(each, ast.Name)}


if __name__ == "__main__":
    for name, test in table():
        print(f"{name:<20} {test}")
