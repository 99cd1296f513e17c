"""Sampling of scenes and rendering of images: pure, compiled, with a readable reference."""
