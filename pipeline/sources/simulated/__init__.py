"""A market that a seed makes: companies, bars, splits and dividends, the same ones in every call."""
