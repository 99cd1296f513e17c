"""Check whether images with their labels are digits like those of MNIST, white on black.

Meaningless input would pass all other checks. With black on white digits, every mask is a whole square (see
`ink_check`). With transposed images (EMNIST) or the labels of another file, the questions are about digits that do not
exist.

The mean image of each class is compared with that of MNIST, after scaling and centring every image. The score is the
mean correlation of the ten pairs, after subtracting the mean of all classes. Measured with 8 or more images per class:
0.5 … 0.99 for handwritten digits of two collections, also shifted, scaled, rotated by 15°, bold, thin or noisy; 0.35 …
0.6 for 40 printed fonts; up to 0.15 for other objects and other labels. Mirrored, transposed or rotated digits gain 0.1
… 0.97 when they are turned back; upright digits lose 0.09 … 0.6. Under the best exchange of labels, correct digits gain
up to 0.11, digits with shuffled labels 0.14 or more.
"""

from collections.abc import Callable

import numpy as np
from PIL import Image

from mnistref.sources.digits import Digits
from mnistref.sources.ink_check import check_ink
from mnistref.spec import CLASSES, GLYPH

MIN_SCORE, MAX_RELABEL_GAIN = 0.25, 0.125
"""Minimum score of a source of digits, and maximum gain of the score by an exchange of labels. A larger gain means that
labels are exchanged."""
MIN_DIAGNOSIS_SCORE = 0.5
"""Minimum score of a transformation or an exchange of labels that a message names."""
MIN_IMAGES, MAX_IMAGES = 8, 200
"""Images per class: minimum for the comparison, and maximum that is used."""

_SIDE, _INNER, _COARSE = GLYPH, 20, 14
_TURNS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "transposed, as EMNIST's are": lambda means: means.transpose(0, 2, 1),
    "mirrored": lambda means: means[:, :, ::-1],
    "upside down (mirrored top to bottom)": lambda means: means[:, ::-1],
    "turned by 180°": lambda means: means[:, ::-1, ::-1],
    "turned by 90° clockwise": lambda means: np.rot90(means, 1, (1, 2)),
    "turned by 90° anticlockwise": lambda means: np.rot90(means, 3, (1, 2)),
    "transposed and turned by 180°": lambda means: means[:, ::-1, ::-1].transpose(0, 2, 1),
}
"""Transformation that digits may have → its inverse."""


def check_digit_images(digits: Digits) -> str | None:
    """Return what is wrong with the digits and how to fix it, or None if they look like digits."""
    train = np.concatenate([digits.splits["train"], digits.splits["val"]])
    parts = {"training digits": train, "test digits": digits.splits["test"]}
    if wrong := check_ink(digits.images, parts):
        return wrong
    if min(np.bincount(digits.labels[part], minlength=CLASSES).min() for part in parts.values()) < MIN_IMAGES:
        parts = {"digits": np.concatenate(list(parts.values()))}
    for name, part in parts.items():
        if wrong := _check_shapes(name, digits.images, digits.labels, part):
            return wrong
    return None


def _check_shapes(name: str, images: np.ndarray, labels: np.ndarray, part: np.ndarray) -> str | None:
    """Return what is wrong with the shapes or the labels of some of the images, or None."""
    if np.bincount(labels[part], minlength=CLASSES).min() < MIN_IMAGES:
        return None
    means = class_means(images[part], labels[part])
    likeness = _likeness(means)
    score = likeness.trace() / CLASSES
    turned = {how: _likeness(back(means)).trace() / CLASSES for how, back in _TURNS.items()}
    how, other = max(turned.items(), key=lambda item: item[1])
    best, columns = _best_labels(likeness)
    if score >= MIN_SCORE and score >= other and best <= score + MAX_RELABEL_GAIN:
        return None
    if other >= max(MIN_DIAGNOSIS_SCORE, best):
        return f"the {name} seem to be {how}; turn them back"
    if best >= MIN_DIAGNOSIS_SCORE:
        wrong = [f"{c} are labelled {k}" for k, c in enumerate(columns) if c != k]
        return f"the labels do not fit the {name} ({', '.join(wrong[:3])}{' …' if len(wrong) > 3 else ''}); give others"
    like = f"their likeness is {score:.2f}, at least {MIN_SCORE} is required"
    return f"the {name} do not look like their labels, 0 … 9 ({like}); give others"


def _best_labels(likeness: np.ndarray) -> tuple[float, tuple[int, ...]]:
    """Return the largest mean correlation of the ten classes under any permutation of labels, and that permutation."""
    best: dict[frozenset[int], tuple[float, tuple[int, ...]]] = {frozenset(): (0.0, ())}
    for row in likeness:
        longer: dict[frozenset[int], tuple[float, tuple[int, ...]]] = {}
        for score, columns in best.values():
            for column in set(range(CLASSES)) - set(columns):
                key, total = frozenset((*columns, column)), score + float(row[column])
                if key not in longer or total > longer[key][0]:
                    longer[key] = total, (*columns, column)
        best = longer
    ((score, columns),) = best.values()
    return score / CLASSES, columns


def class_means(images: np.ndarray, labels: np.ndarray, most: int | None = MAX_IMAGES) -> np.ndarray:
    """Return the mean image of each class, f8 (10, 14, 14), after scaling and centring.

    Args:
        images: u1 (n, 28, 28).
        labels: (n,).
        most: maximum number of images per class, taken evenly; None for all.
    """
    means = np.zeros((CLASSES, _COARSE, _COARSE))
    for cls in range(CLASSES):
        members = np.flatnonzero(labels == cls)
        if most and len(members) > most:
            members = members[np.linspace(0, len(members) - 1, most).round().astype(int)]
        mean = np.mean([_centred(images[k]) for k in members], axis=0) / 255
        means[cls] = _BLUR @ mean.reshape(_COARSE, 2, _COARSE, 2).mean(axis=(1, 3)) @ _BLUR.T
    return means


def _centred(image: np.ndarray) -> np.ndarray:
    """Return an image scaled so that its ink fills 20 pixels and full brightness, centred."""
    whole = np.zeros((_SIDE, _SIDE))
    most = int(image.max())
    ink = image > 0.4 * most
    if not ink.any():
        return whole
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    top, left, bottom, right = rows[0], columns[0], rows[-1] + 1, columns[-1] + 1
    scale = _INNER / max(bottom - top, right - left)
    height, width = max(1, round((bottom - top) * scale)), max(1, round((right - left) * scale))
    clean = np.where(image > 0.25 * most, image * (255 / most), 0).astype(np.uint8)
    box = (float(left), float(top), float(right), float(bottom))
    scaled = Image.fromarray(clean).resize((width, height), Image.Resampling.BILINEAR, box)
    y, x = (_SIDE - height) // 2, (_SIDE - width) // 2
    whole[y : y + height, x : x + width] = np.asarray(scaled)
    return whole


def _blurring(side: int) -> np.ndarray:
    """Return the matrix (side, side) of a Gaussian blur with σ = 1 pixel and mirrored borders."""
    offsets = np.arange(-4, 5)
    weights = np.exp(-(offsets**2) / 2)
    matrix = np.zeros((side, side))
    for row in range(side):
        at = np.abs(row + offsets + 0.5) - 0.5  # −1 is 0 again
        at = side - 0.5 - np.abs(side - 0.5 - at)
        np.add.at(matrix[row], np.rint(at).astype(int), weights / weights.sum())
    return matrix


_BLUR = _blurring(_COARSE)


def _likeness(means: np.ndarray) -> np.ndarray:
    """Return the correlation of each class (row) with each class of MNIST (column), f8 (10, 10)."""
    own, known = (_distinct(m) for m in (means, _mnist_means()))
    likeness: np.ndarray = own @ known.T
    return likeness


def _distinct(means: np.ndarray) -> np.ndarray:
    """Return the normalised differences from the mean of all classes, f8 (10, 196)."""
    flat = (means - means.mean(axis=0)).reshape(CLASSES, -1)
    distinct: np.ndarray = flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-9)
    return distinct


def _mnist_means() -> np.ndarray:
    digits = [[int(value, 16) for value in text.replace(" ", "")] for text in MNIST_MEANS]
    return np.array(digits, float).reshape(CLASSES, _COARSE, _COARSE) / 15


MNIST_MEANS = (
    "00000011110000 00001234432100 00013689974210 00137acddb8410 01269ccccca620 0148bb989bb720 026ab9646ab730"
    " 037bb7446aa720 138cb7569b9520 138cca9aba7310 026bddcca74200 01379ba9642000 00124543210000 00001111000000",
    "00000000000000 00000122211000 00001246532000 00001379852100 0000148b841000 000015ac831000 000026bc720000"
    " 000137cb510000 000149c9410000 000259b8310000 00125997310000 00124664210000 00012222100000 00000000000000",
    "00000111100000 00012333321000 00135788753100 012479aba74210 0124679aa85210 00123578985210 00123579985210"
    " 012468aba85210 0147acddc95310 026adefeca6310 026addcba86310 01478876654210 00133332221100 00001100000000",
    "00000111110000 00012344432100 0013589a974200 001368bcca6210 0013479cca6310 001247adda6210 000247bdda6210"
    " 0012368aca7310 00123457aa7310 01245678aa7310 013589abb95200 012579a9853100 00123454321000 00001111100000",
    "00000000000000 00011111121100 00123333454210 00135655775210 01258877996210 0137aa99ba6200 0149ccbcda5200"
    " 0148bcded95200 01358abcb84100 00135789863100 00123567642100 00012344431100 00001112111000 00000000000000",
    "00000011110000 00011233332100 00124678875310 001479aa986310 01269bb9764210 0137aca8642100 0137aba9642100"
    " 01257998753100 01346778863100 01467888863100 014799a9752100 01257887531000 00123333210000 00001111000000",
    "00000000000000 00001122211000 00012355531000 00124677531000 00136897521000 00247996431100 01269a97653100"
    " 0137bcbaa85210 0149cdccca7310 0149dfedda6210 0138cffec84200 00258bca852100 00123554321000 00001111100000",
    "00001111110000 00123444442100 012479aaa96210 01369bbcdc8310 0125788acc8310 00234458ba6310 00122359b95200"
    " 0001247aa74100 00012589852100 00013688642100 00124676531000 00123454321000 00011222110000 00000000000000",
    "00000111110000 00012344432100 0012579a974200 00248accca6310 01259bbbca6210 00259cdcb85200 00259dfeb63100"
    " 00259dfd952100 0126addb852100 0137acca752100 0137acba742100 01258997531000 00123443210000 00001111000000",
    "00000111110000 00001345431000 0002479a973100 00147abcc95200 0026ababca6200 0126abbcda5200 01259bcdd94100"
    " 001368acb73100 0012468a963100 00013578752100 00013566642100 00012344431000 00001122111000 00000000000000",
)
"""`class_means` of MNIST's 60,000 training digits, all of them: 14 rows of 14 hexadecimal digits a class, of the
largest value 15."""
