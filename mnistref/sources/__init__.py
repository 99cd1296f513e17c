"""Sources of digits and photos: downloads, checksums and checks. Only this room uses the network and `raw/`."""
