"""Daily bars from Yahoo's chart API through yfinance: worker processes at a common pace, answers kept as they come."""
