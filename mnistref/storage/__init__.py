"""Data sets on disk: schema, shards, manifest, journal."""
