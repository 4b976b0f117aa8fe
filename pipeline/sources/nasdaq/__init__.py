"""The listing of the exchange, as the NASDAQ screener's API gives it."""
