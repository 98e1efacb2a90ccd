"""Thirty small bugs, each of a kind that matching engines have had: what to change in which file of the kernel."""

from mutants.planted import Bug

BUGS = [
    Bug(
        "trade_told_at_the_takers_price",
        "events.py",
        "m[at + E_PRICE_TICKS] = m[maker + O_PRICE]",
        "m[at + E_PRICE_TICKS] = m[taker + O_PRICE]",
    ),
    Bug(
        "money_moved_at_the_takers_price",
        "ledger.py",
        "notional = lots * m[maker + O_PRICE] * m[instrument + I_TICK_VALUE]",
        "notional = lots * m[taker + O_PRICE] * m[instrument + I_TICK_VALUE]",
    ),
    Bug(
        "middle_cancel_cuts_the_queue",
        "book.py",
        "        m[before + O_NEXT] = after\n    if after == 0:",
        "        m[before + O_NEXT] = 0\n    if after == 0:",
    ),
    Bug(
        "iceberg_keeps_its_place_when_it_shows_more",
        "matching.py",
        "        to_the_back(m, maker)\n",
        "        from fauxchange.services.exchange.core.layout import L_HIDDEN, O_DISPLAY\n"
        "        m[maker + O_SHOWN] = min(m[maker + O_LEAVES], m[maker + O_DISPLAY])\n"
        "        m[level + L_SHOWN] += m[maker + O_SHOWN]\n"
        "        m[level + L_HIDDEN] -= m[maker + O_SHOWN]\n",
    ),
    Bug(
        "best_price_is_stale_after_its_level_went",
        "book.py",
        "        m[book + K_HIGHEST] = below\n    else:\n        m[above + L_BELOW] = below",
        "        m[book + K_HIGHEST] = m[book + K_HIGHEST]\n    else:\n        m[above + L_BELOW] = below",
    ),
    Bug(
        "buyer_does_not_meet_its_own_limit",
        "book.py",
        "        return price <= limit",
        "        return price < limit",
    ),
    Bug(
        "fee_is_rounded_down",
        "arithmetic.py",
        "(part * rate + FEE_RATE_UNIT - 1) // FEE_RATE_UNIT",
        "(part * rate) // FEE_RATE_UNIT",
    ),
    Bug(
        "maker_pays_as_a_taker",
        "ledger.py",
        "return m[fees_at(m, instrument, tier) + F_MAKER]",
        "return m[fees_at(m, instrument, tier) + F_TAKER]",
    ),
    Bug(
        "price_improvement_stays_held",
        "ledger.py",
        "    post(m, account, quote, freed - from_held, from_held - freed, CAUSE_RELEASE, buyer)\n",
        "",
    ),
    Bug(
        "reservation_survives_the_end_of_an_order",
        "orders.py",
        "    if m[order + O_RESERVED] != 0:\n        hold(m, order, 0)\n    close_order(m, order)",
        "    close_order(m, order)",
    ),
    Bug(
        "fok_counts_own_orders",
        "liquidity.py",
        "            lots -= m[order + O_LEAVES]\n",
        "",
    ),
    Bug(
        "fok_overlooks_hidden_lots",
        "liquidity.py",
        "        there = m[level + L_SHOWN] + m[level + L_HIDDEN]\n"
        "        stops = False\n"
        "        if has_own:\n"
        "            there, stops = without_own(m, level, account, prevention)\n"
        "        there = min(there, lots - taken)",
        "        there = m[level + L_SHOWN]\n"
        "        stops = False\n"
        "        if has_own:\n"
        "            there, stops = without_own(m, level, account, prevention)\n"
        "        there = min(there, lots - taken)",
    ),
    Bug(
        "fok_goes_on_behind_an_own_order",
        "liquidity.py",
        "        if stops:\n            break\n        level = next_of(m, level, 1 - side)",
        "        level = next_of(m, level, 1 - side)",
    ),
    Bug(
        "edge_of_the_price_band_is_outside",
        "risk.py",
        "abs(price - reference) * BAND_UNIT > band * reference",
        "abs(price - reference) * BAND_UNIT >= band * reference",
    ),
    Bug(
        "one_open_order_too_many",
        "risk.py",
        "if count >= most:",
        "if count > most:",
    ),
    Bug(
        "suspended_account_trades",
        "risk.py",
        "    if status == ACCOUNT_SUSPENDED:\n        return REASON_ACCOUNT_SUSPENDED\n",
        "",
    ),
    Bug(
        "youngest_of_one_expiry_goes_first",
        "heaps.py",
        "return m[order + O_ID] < m[other + O_ID]",
        "return m[order + O_ID] > m[other + O_ID]",
    ),
    Bug(
        "heap_is_torn_when_an_order_leaves_it",
        "heaps.py",
        "        sink(m, number, last)\n",
        "        seat(m, number, last)\n",
    ),
    Bug(
        "stops_enter_in_the_order_of_their_prices",
        "heaps.py",
        "        if m[parent + O_ID] < m[order + O_ID]:\n            break\n",
        "        break\n",
    ),
    Bug(
        "stop_waits_for_one_tick_more",
        "stops.py",
        "m[link(m, rising + K_LOWEST) + L_PRICE] <= last:",
        "m[link(m, rising + K_LOWEST) + L_PRICE] < last:",
    ),
    Bug(
        "stop_that_is_due_at_entry_waits",
        "stops.py",
        "    reached = last != 0 and (",
        "    reached = last < 0 and (",
    ),
    Bug(
        "take_profit_waits_for_the_wrong_side",
        "stops.py",
        "    if stops == buys:",
        "    if buys:",
    ),
    Bug(
        "rest_of_an_ioc_rests",
        "matching.py",
        "    elif at_market or is_immediate(m[taker + O_TIME_IN_FORCE]):",
        "    elif at_market:",
    ),
    Bug(
        "self_trade_prevention_spares_the_maker",
        "matching.py",
        "            if prevention != STP_EXPIRE_TAKER:\n",
        "            if prevention == STP_EXPIRE_MAKER:\n",
    ),
    Bug(
        "last_unit_of_an_amount_buys_a_lot",
        "matching.py",
        "return min(lots, m[taker + O_QUOTE_LEFT] // m[instrument + I_TICK_VALUE] // price)",
        "return min(lots, m[taker + O_QUOTE_LEFT] // m[instrument + I_TICK_VALUE] // price + 1)",
    ),
    Bug(
        "increase_keeps_its_place",
        "trading.py",
        "price == m[order + O_PRICE] and lots <= m[order + O_LOTS]",
        "price == m[order + O_PRICE]",
    ),
    Bug(
        "amended_order_rests_crossed",
        "trading.py",
        "        hold(m, order, needed)\n    enter(m, order)\n",
        "        hold(m, order, needed)\n"
        "    from fauxchange.services.exchange.core.orders import rest_order\n"
        "    rest_order(m, order, m[order + O_SIDE])\n",
    ),
    Bug(
        "refused_replacement_tears_the_queue",
        "book.py",
        "        m[after + O_PREV] = order\n    m[order + O_LEVEL] = level",
        "        m[after + O_PREV] = before\n    m[order + O_LEVEL] = level",
    ),
    Bug(
        "order_expires_a_moment_late",
        "apply.py",
        "if m[order + O_EXPIRES] <= m[H_TS_NS]:",
        "if m[order + O_EXPIRES] < m[H_TS_NS]:",
    ),
    Bug(
        "anyone_cancels_any_order",
        "orders.py",
        "    if m[order + O_ACCOUNT] != account:\n        return REASON_UNKNOWN_ORDER, 0\n",
        "",
    ),
]
