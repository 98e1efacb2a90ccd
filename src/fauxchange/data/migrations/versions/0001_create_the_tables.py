"""Create the schemas and their tables."""

from alembic import op

revision = "0001"
down_revision = None

STATEMENTS = (
    "CREATE SCHEMA IF NOT EXISTS audit",
    "CREATE SCHEMA IF NOT EXISTS configuration",
    "CREATE SCHEMA IF NOT EXISTS exchange",
    "CREATE SCHEMA IF NOT EXISTS market_data",
    """
    CREATE TABLE audit.audit_events (
        source TEXT COLLATE "C" NOT NULL,
        sequence BIGINT NOT NULL,
        type TEXT NOT NULL,
        ts_ns BIGINT NOT NULL,
        actor TEXT NOT NULL,
        prev_hash TEXT NOT NULL,
        subject TEXT,
        traceid TEXT,
        causationid TEXT,
        data JSON NOT NULL,
        PRIMARY KEY (source, sequence)
    )
    """,
    """
    CREATE TABLE configuration.configuration_changes (
        version BIGINT NOT NULL,
        service TEXT NOT NULL,
        environment TEXT NOT NULL,
        key TEXT NOT NULL,
        type TEXT NOT NULL,
        content JSON NOT NULL,
        ts_ns BIGINT NOT NULL,
        actor TEXT NOT NULL,
        trace_id TEXT NOT NULL,
        comment TEXT NOT NULL,
        PRIMARY KEY (version)
    )
    """,
    """
    CREATE INDEX configuration_changes_key
    ON configuration.configuration_changes (service, environment, key, version)
    """,
    "CREATE INDEX configuration_changes_service ON configuration.configuration_changes (service, environment, version)",
    """
    CREATE TABLE exchange.exchange_accounts (
        account BIGINT NOT NULL,
        name TEXT NOT NULL,
        tier BIGINT NOT NULL,
        status BIGINT NOT NULL,
        created_ns BIGINT NOT NULL,
        updated_ns BIGINT NOT NULL,
        PRIMARY KEY (account)
    )
    """,
    """
    CREATE TABLE exchange.exchange_fills (
        trade_id BIGINT NOT NULL,
        is_maker BOOLEAN NOT NULL,
        order_id BIGINT NOT NULL,
        account BIGINT NOT NULL,
        symbol TEXT NOT NULL,
        client_order_id TEXT,
        side BIGINT NOT NULL,
        last_ticks BIGINT NOT NULL,
        last_lots BIGINT NOT NULL,
        fee BIGINT NOT NULL,
        ts_ns BIGINT NOT NULL,
        sequence BIGINT NOT NULL,
        PRIMARY KEY (trade_id, is_maker)
    )
    """,
    "CREATE INDEX exchange_fills_account ON exchange.exchange_fills (account, trade_id, is_maker)",
    "CREATE INDEX exchange_fills_order ON exchange.exchange_fills (order_id, trade_id, is_maker)",
    "CREATE INDEX exchange_fills_symbol ON exchange.exchange_fills (symbol, trade_id, is_maker)",
    """
    CREATE TABLE exchange.exchange_journal (
        first_sequence BIGINT NOT NULL,
        last_sequence BIGINT NOT NULL,
        prev_hash TEXT NOT NULL,
        hash TEXT NOT NULL,
        payload BYTEA NOT NULL,
        PRIMARY KEY (first_sequence)
    )
    """,
    """
    CREATE TABLE exchange.exchange_journal_writer (
        name TEXT COLLATE "C" NOT NULL,
        writer BIGINT NOT NULL,
        PRIMARY KEY (name)
    )
    """,
    """
    CREATE TABLE exchange.exchange_keys (
        api_key TEXT COLLATE "C" NOT NULL,
        account BIGINT NOT NULL,
        label TEXT NOT NULL,
        encrypted_secret TEXT NOT NULL,
        created_ns BIGINT NOT NULL,
        revoked_ns BIGINT NOT NULL,
        PRIMARY KEY (api_key)
    )
    """,
    """
    CREATE TABLE exchange.exchange_ledger (
        account BIGINT NOT NULL,
        event_sequence BIGINT NOT NULL,
        asset TEXT COLLATE "C" NOT NULL,
        sequence BIGINT NOT NULL,
        ts_ns BIGINT NOT NULL,
        delta_free BIGINT NOT NULL,
        delta_held BIGINT NOT NULL,
        cause BIGINT NOT NULL,
        order_id BIGINT NOT NULL,
        free BIGINT NOT NULL,
        held BIGINT NOT NULL,
        PRIMARY KEY (account, event_sequence, asset)
    )
    """,
    """
    CREATE TABLE exchange.exchange_orders (
        order_id BIGINT NOT NULL,
        account BIGINT NOT NULL,
        symbol TEXT NOT NULL,
        client_order_id TEXT,
        side BIGINT NOT NULL,
        order_type BIGINT NOT NULL,
        time_in_force BIGINT NOT NULL,
        post_only BOOLEAN NOT NULL,
        self_trade_prevention BIGINT NOT NULL,
        price_ticks BIGINT NOT NULL,
        stop_ticks BIGINT NOT NULL,
        order_lots BIGINT NOT NULL,
        display_lots BIGINT NOT NULL,
        amount BIGINT NOT NULL,
        expires_ns BIGINT NOT NULL,
        status BIGINT NOT NULL,
        reason BIGINT NOT NULL,
        cum_lots BIGINT NOT NULL,
        leaves_lots BIGINT NOT NULL,
        cum_quote BIGINT NOT NULL,
        fee BIGINT NOT NULL,
        triggered BOOLEAN NOT NULL,
        replaces BIGINT NOT NULL,
        created_ns BIGINT NOT NULL,
        updated_ns BIGINT NOT NULL,
        event_sequence BIGINT NOT NULL,
        fingerprint BIGINT NOT NULL,
        verdict TEXT,
        PRIMARY KEY (order_id)
    )
    """,
    "CREATE INDEX exchange_orders_account ON exchange.exchange_orders (account, order_id)",
    """
    CREATE INDEX exchange_orders_named ON exchange.exchange_orders (account, client_order_id, order_id)
    WHERE client_order_id IS NOT NULL
    """,
    """
    CREATE INDEX exchange_orders_open ON exchange.exchange_orders (account, order_id)
    WHERE status IN (0, 1)
    """,
    """
    CREATE INDEX exchange_orders_updated ON exchange.exchange_orders (updated_ns, order_id)
    WHERE client_order_id IS NOT NULL
    """,
    """
    CREATE TABLE exchange.exchange_position (
        name TEXT COLLATE "C" NOT NULL,
        sequence BIGINT NOT NULL,
        document JSON NOT NULL,
        PRIMARY KEY (name)
    )
    """,
    """
    CREATE TABLE exchange.exchange_snapshot_parts (
        sequence BIGINT NOT NULL,
        part BIGINT NOT NULL,
        payload BYTEA NOT NULL,
        PRIMARY KEY (sequence, part)
    )
    """,
    """
    CREATE TABLE exchange.exchange_snapshots (
        sequence BIGINT NOT NULL,
        ts_ns BIGINT NOT NULL,
        state_hash TEXT NOT NULL,
        size BIGINT NOT NULL,
        checksum BIGINT NOT NULL,
        PRIMARY KEY (sequence)
    )
    """,
    """
    CREATE TABLE exchange.exchange_trail (
        first_sequence BIGINT NOT NULL,
        last_sequence BIGINT NOT NULL,
        first_ns BIGINT NOT NULL,
        last_ns BIGINT NOT NULL,
        prev_hash TEXT NOT NULL,
        hash TEXT NOT NULL,
        payload BYTEA NOT NULL,
        PRIMARY KEY (first_sequence)
    )
    """,
    """
    CREATE TABLE market_data.candles (
        symbol TEXT COLLATE "C" NOT NULL,
        interval_ns BIGINT NOT NULL,
        open_ns BIGINT NOT NULL,
        open NUMERIC NOT NULL,
        high NUMERIC NOT NULL,
        low NUMERIC NOT NULL,
        close NUMERIC NOT NULL,
        volume NUMERIC NOT NULL,
        closed BOOLEAN NOT NULL,
        metadata JSON NOT NULL,
        PRIMARY KEY (symbol, interval_ns, open_ns)
    )
    """,
    """
    CREATE TABLE market_data.market_snapshots (
        symbol TEXT COLLATE "C" NOT NULL,
        ts_ns BIGINT NOT NULL,
        sequence BIGINT NOT NULL,
        bid NUMERIC NOT NULL,
        ask NUMERIC NOT NULL,
        last_price NUMERIC,
        open_24h NUMERIC NOT NULL,
        high_24h NUMERIC NOT NULL,
        low_24h NUMERIC NOT NULL,
        volume_24h NUMERIC NOT NULL,
        change_24h NUMERIC NOT NULL,
        source TEXT NOT NULL,
        metadata JSON NOT NULL,
        PRIMARY KEY (symbol, ts_ns)
    )
    """,
    """
    CREATE TABLE market_data.price_feeds (
        symbol TEXT COLLATE "C" NOT NULL,
        ts_ns BIGINT NOT NULL,
        epoch BIGINT NOT NULL,
        sequence BIGINT NOT NULL,
        bid NUMERIC NOT NULL,
        ask NUMERIC NOT NULL,
        last NUMERIC,
        volume NUMERIC NOT NULL,
        source TEXT NOT NULL,
        metadata JSON NOT NULL,
        PRIMARY KEY (symbol, ts_ns, epoch, sequence),
        CONSTRAINT price_feeds_sequence UNIQUE (symbol, epoch, sequence)
    )
    """,
    """
    CREATE TABLE market_data.service_state (
        name TEXT COLLATE "C" NOT NULL,
        document JSON NOT NULL,
        PRIMARY KEY (name)
    )
    """,
    """
    CREATE TABLE market_data.symbols (
        symbol TEXT COLLATE "C" NOT NULL,
        tick_size NUMERIC NOT NULL,
        lot_size NUMERIC NOT NULL,
        active BOOLEAN NOT NULL,
        metadata JSON NOT NULL,
        PRIMARY KEY (symbol)
    )
    """,
)


def upgrade() -> None:
    """Apply this migration."""
    for statement in STATEMENTS:
        op.execute(statement)
