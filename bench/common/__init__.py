"""Helpers that know nothing of attention: memory, number formats, safetensors, JSON files."""
