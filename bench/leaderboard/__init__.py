"""Boards of results: aggregation, statistics, claims and formats. Only the module `snapshot` reads and writes files."""
