"""The tables of the database, as named migrations that are applied once each, in this order.

A database holds one source only, so every table carries the source's name as the default of its column `source`
(`{source}` below). The big tables have no primary key: a day or a symbol is replaced as a whole, and
`pipeline.database.duplicated_rows` proves that nothing is there twice.
"""

MARKERS = "table_updates"

#: What a replica must hold to be published.
TABLES = (
    "nasdaq_symbols",
    "symbol_snapshots",
    "stock_data",
    "corporate_actions",
    "price_coverage",
    "rejected_bars",
    "technical_indicators",
    "daily_watchlist",
    "task_runs",
    "alerts",
    MARKERS,
)

_LISTED = """
    symbol VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    sector VARCHAR,
    industry VARCHAR,
    country VARCHAR,
    market_cap DOUBLE,
    ipo_year INTEGER,
"""

MIGRATIONS: tuple[tuple[str, str], ...] = (
    (
        "001_tables",
        f"""
        CREATE TABLE table_updates (
            update_id VARCHAR PRIMARY KEY,
            target_table VARCHAR,
            inserted TIMESTAMPTZ NOT NULL
        );
        CREATE TABLE nasdaq_symbols (
            {_LISTED}
            is_active BOOLEAN NOT NULL,
            first_seen DATE NOT NULL,
            last_seen DATE NOT NULL,
            avg_volume_30 DOUBLE,
            updated_at TIMESTAMPTZ NOT NULL,
            source VARCHAR NOT NULL DEFAULT '{{source}}'
        );
        CREATE TABLE symbol_snapshots (
            date DATE NOT NULL,
            {_LISTED}
            last_sale DOUBLE,
            net_change DOUBLE,
            volume BIGINT,
            source VARCHAR NOT NULL DEFAULT '{{source}}'
        );
        CREATE TABLE session_universe (
            date DATE PRIMARY KEY,
            snapshot_date DATE NOT NULL,
            source VARCHAR NOT NULL DEFAULT '{{source}}'
        );
        CREATE TABLE stock_data (
            symbol VARCHAR NOT NULL,
            date DATE NOT NULL,
            open DOUBLE NOT NULL,
            high DOUBLE NOT NULL,
            low DOUBLE NOT NULL,
            close DOUBLE NOT NULL,
            volume BIGINT NOT NULL,
            source VARCHAR NOT NULL DEFAULT '{{source}}',
            fetched_at TIMESTAMPTZ NOT NULL
        );
        CREATE TABLE price_ranges (
            symbol VARCHAR NOT NULL,
            first_asked DATE NOT NULL,
            last_asked DATE NOT NULL,
            source VARCHAR NOT NULL DEFAULT '{{source}}'
        );
        CREATE TABLE recollections (
            date DATE NOT NULL,
            reason VARCHAR NOT NULL,
            source VARCHAR NOT NULL DEFAULT '{{source}}'
        );
        CREATE TABLE corporate_actions (
            symbol VARCHAR NOT NULL,
            date DATE NOT NULL,
            kind VARCHAR NOT NULL,
            value DOUBLE NOT NULL,
            source VARCHAR NOT NULL DEFAULT '{{source}}'
        );
        CREATE TABLE price_coverage (
            date DATE NOT NULL,
            symbol VARCHAR NOT NULL,
            state VARCHAR NOT NULL,
            reason VARCHAR,
            source VARCHAR NOT NULL DEFAULT '{{source}}'
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
            source VARCHAR NOT NULL DEFAULT '{{source}}'
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
            source VARCHAR NOT NULL DEFAULT '{{source}}'
        );
        CREATE TABLE stale_indicators (
            symbol VARCHAR NOT NULL,
            since TIMESTAMPTZ NOT NULL,
            reason VARCHAR NOT NULL,
            source VARCHAR NOT NULL DEFAULT '{{source}}'
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
            source VARCHAR NOT NULL DEFAULT '{{source}}'
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
            source VARCHAR NOT NULL DEFAULT '{{source}}'
        );
        CREATE TABLE alerts (
            type VARCHAR NOT NULL,
            pipeline VARCHAR NOT NULL,
            task VARCHAR,
            date DATE,
            message VARCHAR NOT NULL,
            raised_at TIMESTAMPTZ NOT NULL,
            run_id VARCHAR,
            source VARCHAR NOT NULL DEFAULT '{{source}}'
        );
        """,
    ),
    (
        "002_history",
        """
        ALTER TABLE symbol_snapshots ADD COLUMN security_type VARCHAR DEFAULT 'share';
        ALTER TABLE nasdaq_symbols ADD COLUMN security_type VARCHAR DEFAULT 'share';
        CREATE TABLE gaps (
            symbol VARCHAR NOT NULL,
            date DATE NOT NULL,
            times_asked INTEGER NOT NULL,
            source VARCHAR NOT NULL DEFAULT '{source}'
        );
        CREATE TABLE closed_histories (
            symbol VARCHAR NOT NULL,
            name VARCHAR,
            closed_on DATE NOT NULL,
            date DATE NOT NULL,
            open DOUBLE NOT NULL,
            high DOUBLE NOT NULL,
            low DOUBLE NOT NULL,
            close DOUBLE NOT NULL,
            volume BIGINT NOT NULL,
            fetched_at TIMESTAMPTZ NOT NULL,
            source VARCHAR NOT NULL DEFAULT '{source}'
        );

        -- Closes as a holder who reinvests dividends has them: each dividend d scales the closes before its ex-date by
        -- 1 - d / (the last close before it), the method of CRSP and Yahoo.
        CREATE VIEW stock_data_adjusted AS
        WITH steps AS (
            SELECT a.symbol, a.date, 1 - a.value / s.close AS step
            FROM (FROM corporate_actions WHERE kind = 'dividend') a
            ASOF JOIN stock_data s ON s.symbol = a.symbol AND s.date < a.date
        ), factors AS (
            SELECT symbol, date, product(step) OVER (
                PARTITION BY symbol ORDER BY date ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING
            ) AS factor
            FROM steps
        )
        SELECT s.symbol, s.date, s.close, s.volume, s.close * coalesce(f.factor, 1) AS adjusted_close, s.source
        FROM stock_data s ASOF LEFT JOIN factors f ON f.symbol = s.symbol AND f.date > s.date;

        -- Every name that a symbol was listed under, and when.
        CREATE VIEW symbol_names AS
        SELECT symbol, name, min(date) AS first_seen, max(date) AS last_seen, any_value(source) AS source
        FROM symbol_snapshots GROUP BY symbol, name;

        -- Companies that left under one symbol and came under another with the next listing.
        CREATE VIEW symbol_changes AS
        WITH listings AS (
            SELECT date, lag(date) OVER (ORDER BY date) AS previous FROM (SELECT DISTINCT date FROM symbol_snapshots)
        ), spans AS (
            SELECT symbol, min(date) AS first_seen, max(date) AS last_seen FROM symbol_snapshots GROUP BY symbol
        )
        SELECT l.date, o.symbol AS old_symbol, n.symbol AS new_symbol, n.name, n.source
        FROM listings l
        JOIN spans came ON came.first_seen = l.date
        JOIN spans gone ON gone.last_seen = l.previous
        JOIN symbol_snapshots n ON n.date = l.date AND n.symbol = came.symbol
        JOIN symbol_snapshots o ON o.date = l.previous AND o.symbol = gone.symbol
        WHERE n.name = o.name;

        -- Up to when the history of a symbol was kept, and whether it still is.
        CREATE VIEW price_maintenance AS
        SELECT symbol, first_asked, last_asked, last_asked = max(last_asked) OVER () AS is_maintained, source
        FROM price_ranges;
        """,
    ),
    (
        "003_rules",
        """
        ALTER TABLE daily_watchlist ADD COLUMN rule_version VARCHAR;
        ALTER TABLE daily_watchlist ADD COLUMN fired VARCHAR;  -- JSON: the columns that the condition names, and their values
        """,
    ),
    (
        "004_stale_sessions",
        """
        CREATE TABLE stale_sessions (
            date DATE NOT NULL,
            since TIMESTAMPTZ NOT NULL,
            symbols BIGINT NOT NULL,
            reason VARCHAR NOT NULL,
            source VARCHAR NOT NULL DEFAULT '{source}'
        );
        """,
    ),
    (
        "005_messages",
        """
        CREATE SEQUENCE task_run_ids;
        ALTER TABLE task_runs ADD COLUMN id BIGINT DEFAULT nextval('task_run_ids');
        CREATE SEQUENCE alert_ids;
        ALTER TABLE alerts ADD COLUMN id BIGINT DEFAULT nextval('alert_ids');
        -- Alerts of one cause are told in one message: when, when their date was done, and when nothing is left to say.
        ALTER TABLE alerts ADD COLUMN cause VARCHAR;
        ALTER TABLE alerts ADD COLUMN told_at TIMESTAMPTZ;
        ALTER TABLE alerts ADD COLUMN resolved_at TIMESTAMPTZ;
        ALTER TABLE alerts ADD COLUMN closed_at TIMESTAMPTZ;
        UPDATE alerts SET cause = message, told_at = now(), resolved_at = now(), closed_at = now();
        """,
    ),
)
