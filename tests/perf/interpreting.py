"""Triton's interpreter with recent versions of NumPy."""


def mend() -> None:
    """Patch the interpreter of Triton before 3.7 to work with NumPy 2.5. Call this before the first kernel.

    That interpreter calls int() on arrays of shape (1,), which NumPy 2.5 refuses.
    """
    import triton
    from triton.runtime import interpreter

    if tuple(map(int, triton.__version__.split(".")[:2])) >= (3, 7):
        return
    patch_tensor = interpreter._patch_lang_tensor

    def patched_tensor(tensor, scope):  # type: ignore[no-untyped-def]
        patch_tensor(tensor, scope)
        scope.set_attr(tensor, "__index__", lambda self: self.handle.data.item())

    interpreter._patch_lang_tensor = patched_tensor
