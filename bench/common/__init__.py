"""Helpers that do not depend on attention: memory, number formats, safetensors, JSON files."""
