"""Sampling of scenes and rendering of images: compiled, with a readable reference."""
