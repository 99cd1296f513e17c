"""Names of attacks, of the pixels that they may change, and the default norms. Pure. Imports no PyTorch."""

FGSM, PGD = "fgsm", "pgd"
PGD_STEPS = 10
PGD_REACH = 2.5
"""Sum of the sizes of all steps of `pgd`, in ε. Above 1, it can reach any point within the norm (Madry et al., §5)."""
METHODS = {
    FGSM: "one step of ε along the sign of the gradient (Goodfellow et al., ICLR 2015, §4)",
    PGD: f"{PGD_STEPS} steps of ε / {PGD_STEPS / PGD_REACH:g} along the sign, projected onto the norm (Madry et al., "
    "ICLR 2018, §2.1), no random start",
}
"""What each attack does."""
ALL, TARGET, OTHERS, BACKGROUND = "all", "target", "others", "background"
REGIONS = {
    ALL: "all pixels",
    TARGET: "the ink of the queried digit",
    OTHERS: "the ink of the other digits",
    BACKGROUND: "all pixels without ink",
}
"""The pixels that an attack may change."""
PIXEL_LEVELS = 255
"""Norms are given in units of one level of a pixel, 1/255."""
DEFAULT_NORMS = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Norms of an attack record by default, in units of 1/255."""
