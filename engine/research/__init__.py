"""Offline work over tapes: replay to parquet, benchmarks, reports."""
