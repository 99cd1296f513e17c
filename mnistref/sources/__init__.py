"""Where digits and photographs come from: bytes in, checksums, clear errors. They touch the network and `raw/`."""
