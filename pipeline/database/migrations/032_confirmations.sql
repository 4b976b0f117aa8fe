-- When a bar became final by an answer that said it again, null where it was final, or not, since it was stored.
ALTER TABLE stock_data ADD COLUMN confirmed_at TIMESTAMPTZ;
ALTER TABLE bar_versions ADD COLUMN confirmed_at TIMESTAMPTZ;
