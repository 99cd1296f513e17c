"""Fast paths, each beside an obvious reference. Functions of tensors: no modules, no configuration."""
