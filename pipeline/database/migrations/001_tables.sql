CREATE TABLE table_updates (
    update_id VARCHAR PRIMARY KEY,
    target_table VARCHAR,
    inserted TIMESTAMPTZ NOT NULL
);

CREATE TABLE nasdaq_symbols (
    symbol VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    sector VARCHAR,
    industry VARCHAR,
    country VARCHAR,
    market_cap DOUBLE,
    ipo_year INTEGER,
    is_active BOOLEAN NOT NULL,
    first_seen DATE NOT NULL,
    last_seen DATE NOT NULL,
    avg_volume_30 DOUBLE,
    updated_at TIMESTAMPTZ NOT NULL,
    source VARCHAR NOT NULL DEFAULT '{source}'
);

CREATE TABLE symbol_snapshots (
    date DATE NOT NULL,
    symbol VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    sector VARCHAR,
    industry VARCHAR,
    country VARCHAR,
    market_cap DOUBLE,
    ipo_year INTEGER,
    last_sale DOUBLE,
    net_change DOUBLE,
    volume BIGINT,
    source VARCHAR NOT NULL DEFAULT '{source}'
);

CREATE TABLE session_universe (
    date DATE PRIMARY KEY,
    snapshot_date DATE NOT NULL,
    source VARCHAR NOT NULL DEFAULT '{source}'
);

CREATE TABLE stock_data (
    symbol VARCHAR NOT NULL,
    date DATE NOT NULL,
    open DOUBLE NOT NULL,
    high DOUBLE NOT NULL,
    low DOUBLE NOT NULL,
    close DOUBLE NOT NULL,
    volume BIGINT NOT NULL,
    source VARCHAR NOT NULL DEFAULT '{source}',
    fetched_at TIMESTAMPTZ NOT NULL
);

CREATE TABLE price_ranges (
    symbol VARCHAR NOT NULL,
    first_asked DATE NOT NULL,
    last_asked DATE NOT NULL,
    source VARCHAR NOT NULL DEFAULT '{source}'
);

CREATE TABLE recollections (
    date DATE NOT NULL,
    reason VARCHAR NOT NULL,
    source VARCHAR NOT NULL DEFAULT '{source}'
);

CREATE TABLE corporate_actions (
    symbol VARCHAR NOT NULL,
    date DATE NOT NULL,
    kind VARCHAR NOT NULL,
    value DOUBLE NOT NULL,
    source VARCHAR NOT NULL DEFAULT '{source}'
);

CREATE TABLE price_coverage (
    date DATE NOT NULL,
    symbol VARCHAR NOT NULL,
    state VARCHAR NOT NULL,
    reason VARCHAR,
    source VARCHAR NOT NULL DEFAULT '{source}'
);

CREATE TABLE rejected_bars (
    symbol VARCHAR NOT NULL,
    date DATE NOT NULL,
    open DOUBLE,
    high DOUBLE,
    low DOUBLE,
    close DOUBLE,
    volume BIGINT,
    rule VARCHAR NOT NULL,
    rejected_at TIMESTAMPTZ NOT NULL,
    source VARCHAR NOT NULL DEFAULT '{source}'
);

CREATE TABLE technical_indicators (
    symbol VARCHAR NOT NULL,
    date DATE NOT NULL,
    rsi_14 DOUBLE,
    macd DOUBLE,
    macd_signal DOUBLE,
    macd_hist DOUBLE,
    bb_upper DOUBLE,
    bb_middle DOUBLE,
    bb_lower DOUBLE,
    bb_position DOUBLE,
    sma_20 DOUBLE,
    sma_50 DOUBLE,
    avg_volume_30 DOUBLE,
    source VARCHAR NOT NULL DEFAULT '{source}'
);

CREATE TABLE stale_indicators (
    symbol VARCHAR NOT NULL,
    since TIMESTAMPTZ NOT NULL,
    reason VARCHAR NOT NULL,
    source VARCHAR NOT NULL DEFAULT '{source}'
);

CREATE TABLE daily_watchlist (
    scan_date DATE NOT NULL,
    symbol VARCHAR NOT NULL,
    name VARCHAR,
    sector VARCHAR,
    market_cap DOUBLE,
    scan_reason VARCHAR NOT NULL,
    priority INTEGER NOT NULL,
    close_price DOUBLE NOT NULL,
    volume BIGINT NOT NULL,
    rsi_14 DOUBLE,
    bb_position DOUBLE,
    volume_ratio DOUBLE,
    market_cap_tier INTEGER,
    source VARCHAR NOT NULL DEFAULT '{source}'
);

CREATE TABLE task_runs (
    pipeline VARCHAR NOT NULL,
    task VARCHAR NOT NULL,
    date DATE,
    started_at TIMESTAMPTZ NOT NULL,
    duration_seconds DOUBLE,
    status VARCHAR NOT NULL,
    try_number INTEGER NOT NULL,
    combined INTEGER NOT NULL,
    run_id VARCHAR NOT NULL,
    source VARCHAR NOT NULL DEFAULT '{source}'
);

CREATE TABLE alerts (
    type VARCHAR NOT NULL,
    pipeline VARCHAR NOT NULL,
    task VARCHAR,
    date DATE,
    message VARCHAR NOT NULL,
    raised_at TIMESTAMPTZ NOT NULL,
    run_id VARCHAR,
    source VARCHAR NOT NULL DEFAULT '{source}'
);
