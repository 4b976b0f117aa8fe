"""Listings and bars from a folder of Parquet or CSV files; docs/files-source.md is its contract for people.

[files] path/listings/*.parquet|csv|csv.gz     which companies are listed
[files] path/bars/*.parquet|csv|csv.gz         their daily bars
"""
