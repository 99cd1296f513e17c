"""Pictures of where networks look."""
