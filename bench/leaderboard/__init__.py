"""Boards of results: aggregation, statistics, claims and formats. Only `snapshot` reads and writes the files of boards."""
