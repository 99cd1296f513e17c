"""Runs on disk and in processes: one run, sweeps, records, loading, reproduction."""
