"""Boards of results: aggregation, statistics, claims, formats. Pure, but for the snapshot folder."""
