"""Pictures of the attention maps of trained networks."""
