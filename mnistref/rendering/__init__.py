"""Draw scenes and images. Pure and compiled, with an obvious reference."""
