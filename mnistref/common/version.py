"""Version of the distribution, which every record stores as `bench_version`."""

VERSION = "0.1.0"
