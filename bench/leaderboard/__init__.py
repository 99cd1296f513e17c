"""Boards of results: aggregation, statistics, claims and formats. Only `snapshot` accesses the files of boards."""
