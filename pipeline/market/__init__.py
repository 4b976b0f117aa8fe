"""What is believed of the market, and why: listings, the universe of a session, bars, and what speaks against them.

In: listings and answers of `sources`. Out: which bars to ask for, and tables that agree with the source. Fills
`nasdaq_symbols`, `symbol_snapshots`, `session_universe`, `stock_data`, `corporate_actions`, `price_coverage`,
`price_ranges`, `rejected_bars`, `disputed_answers`, `price_disagreements`, `gaps`, `recollections`, `closed_histories`,
`ticker_changes`, `stale_indicators` and `stale_sessions`. The rooms from `indicators` on may import it.
"""
