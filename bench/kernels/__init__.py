"""Fast kernels, each with a simple reference implementation. Functions of tensors: no modules, no configuration."""
