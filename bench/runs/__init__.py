"""Runs: configuration, execution, records, sweeps, loading and reproduction."""
