"""The version of the distribution; `bench_version` in every record."""

VERSION = "0.1.0"
