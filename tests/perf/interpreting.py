"""Triton's interpreter with recent versions of NumPy."""


def mend() -> None:
    """Let an old interpreter work with NumPy 2.5. To be called before the first kernel.

    Before 3.7 it calls int() on arrays of one number with one axis, which NumPy refuses. Newer versions drop the axis.
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
