"""Every time a mesh is drawn it may look a little different: stretched, turned, mirrored, shifted, nudged within the grid, its quads cut;
and its caption may say it in other words.

All of it but the cutting moves whole planes of the grid, so it is a table of 129 numbers an axis: what was flat, upright or symmetric
stays so. Nothing is changed that would lose a corner or leave a face without area, and nothing that the captions speak against.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.mesh import LEVELS, FloatArray, IntArray, rotate_to_lowest
from core.vocabulary import with_article
from training.preparation.cleaning import reversed_faces

Grid = NDArray[np.int16]

HANDED = frozenset(
    {
        "left", "right", "clockwise", "counterclockwise", "letter", "letters", "number", "numbers", "digit", "digits",
        "word", "words", "text", "sign", "signs",
    }
)
ROUND = frozenset({"round", "square", "circular", "circle", "disc", "wheel", "cylinder", "cylindrical", "hexagonal", "octagonal"})
EVEN = frozenset({"cube", "cubic", "ball", "sphere", "spherical", "globe", "dice"})
FILLERS = frozenset(
    {
        "simple", "plain", "small", "large", "big", "little", "old", "new", "clean", "basic", "stylized", "stylised",
        "low-poly", "cute",
    }
)
COLOURS = frozenset({"red", "blue", "green", "yellow", "orange", "white", "black", "brown", "grey", "gray", "pink", "purple"})
SYNONYMS = (
    ("sofa", "couch", "settee"),
    ("bookshelf", "bookcase"),
    ("cabinet", "cupboard"),
    ("car", "automobile"),
    ("truck", "lorry"),
    ("rock", "stone"),
    ("bush", "shrub"),
    ("bin", "trash can", "rubbish bin"),
    ("cup", "mug"),
    ("rug", "carpet"),
    ("ship", "boat"),
    ("house", "home"),
    ("small", "little", "tiny"),
    ("large", "big"),
    ("tall", "high"),
    ("thin", "slender"),
    ("thick", "stout"),
    ("round", "circular"),
    ("simple", "plain", "basic"),
    ("four", "4"),
    ("three", "3"),
    ("two", "2"),
)  # only words that stay true of the same shape
OTHERS = {word: [other for other in words if other != word] for words in SYNONYMS for word in words}


@dataclass(frozen=True)
class Augmentation:
    """How much is varied.

    stretch: each axis by 1 - stretch to 1 + stretch. shift: share of the meshes that stand in a box up to twice their size, as a part of
    something larger does. jitter: of a grid plane, in half steps, 0 to 1. turn: whether to turn by quarters and mirror what allows it.
    triangles: share of the meshes of up to most_cut faces whose quads are cut. words: chance of each kind of change to a caption.
    """

    stretch: float = 0.2
    shift: float = 0.0
    jitter: float = 1.0
    turn: bool = True
    triangles: float = 0.1
    most_cut: int = 256
    words: float = 0.3


# ---- meshes


def vary_mesh(grid: Grid, captions: Sequence[str], oriented: bool, how: Augmentation, rng: np.random.Generator) -> Grid:
    """The mesh [faces, 12], canonical as in training.data.parquet.Row, once more in another way. Time O(faces log faces), no Python loops.

    captions: all that is said of it. oriented: its front is towards -y, so that it is mirrored but not turned.
    """
    said = frozenset(re.findall(r"[a-z-]+", " ".join(captions).lower()))
    corners = grid.reshape(-1, 4, 3).astype(np.int64)
    if rng.random() < how.triangles and len(grid) <= how.most_cut:
        corners = cut_quads(corners)
    sides, turned = np.ones(3), False  # x, y, z
    if how.turn and not said & HANDED:
        sides[0] = rng.choice([-1, 1])
        if not oriented:
            sides[1], turned = rng.choice([-1, 1]), rng.random() < 0.5
    size = 1 / rng.uniform(1, 2) if rng.random() < how.shift else 1.0
    corner = rng.uniform([-0.5, -0.5, 0], [0.5, 0.5, 1]) * (1 - size)
    factors = sides * stretches(said, how.stretch, rng)
    for jitter in (how.jitter, 0.0):  # fine detail may stand one and not the other
        planes = np.arange(LEVELS) + nudges(jitter, rng)
        varied = placed(corners, planes * factors[:, None], size, corner)
        if keeps(varied, corners):
            break
    else:
        varied = placed(corners, np.arange(LEVELS) * sides[:, None], 1.0, np.zeros(3))
    if turned:
        varied = varied[..., [0, 2, 1]]
    return in_order(varied, mirrored=(sides.prod() < 0) != turned).reshape(-1, 12).astype(np.int16)


def stretches(said: frozenset[str], most: float, rng: np.random.Generator) -> FloatArray:
    """[3] factors along x, y, z; what is said to be round stays so."""
    factors = 1 + rng.uniform(-most, most, 3).astype(np.float32)
    if said & EVEN:
        factors[:] = 1
    elif said & ROUND:
        factors[1] = factors[0]
    return factors


def nudges(most: float, rng: np.random.Generator) -> FloatArray:
    """[3, LEVELS] by how much each plane of the grid moves, below half a step; along x and y the same on both sides of the middle."""
    moves = rng.uniform(-most / 2, most / 2, (3, LEVELS)).astype(np.float32)
    half = LEVELS // 2
    moves[:2, half + 1 :] = -moves[:2, half - 1 :: -1]
    moves[:2, half] = 0
    return moves


def placed(corners: IntArray, planes: NDArray[Any], size: float, corner: NDArray[Any]) -> IntArray:
    """Corners [faces, 4, 3] (z, y, x) whose planes [3, LEVELS] (x, y, z) have moved, on the grid of the box again.

    size: of the mesh's longest side, in sides of the box. corner: [3] where the middle of its floor stands, in sides of the box.
    """
    absent = corners[..., :1] < 0
    moved = np.stack([planes[axis][corners[..., 2 - axis]] for axis in (2, 1, 0)], -1)
    low, high = (extreme((0, 1)) for extreme in (np.where(absent, np.inf, moved).min, np.where(absent, -np.inf, moved).max))
    floor = np.array([low[0], (low[1] + high[1]) / 2, (low[2] + high[2]) / 2])
    unit = (moved - floor) * (size / (high - low).max()) + corner[::-1] + [0, 0.5, 0.5]
    on_grid = np.clip(np.rint(unit * (LEVELS - 1)), 0, LEVELS - 1).astype(np.int64)
    return np.where(absent, -1, on_grid)


def keeps(moved: IntArray, corners: IntArray) -> bool:
    """Whether the moved corners are as many different ones as before, and every face has an area."""
    if len(np.unique(packed(moved))) != len(np.unique(packed(corners))):
        return False
    a, b, c = moved[:, 0], moved[:, 1], moved[:, 2]
    d = np.where(moved[:, 3] < 0, a, moved[:, 3])
    return bool(np.cross(c - a, d - b).any(1).all())


def packed(corners: IntArray) -> IntArray:
    """[...] one number for each corner [..., 3], in the order of corners; -1 for an absent one."""
    return np.where(corners[..., 0] < 0, -1, corners @ [LEVELS**2, LEVELS, 1])


def in_order(corners: IntArray, mirrored: bool) -> IntArray:
    """Faces of corners [faces, 4, 3] in canonical order; mirrored: they are wound the wrong way."""
    keys = packed(corners)
    if mirrored:
        keys = reversed_faces(keys)
    keys = rotate_to_lowest(keys)
    keys = keys[np.lexsort(keys.T[::-1])]
    unpacked = np.stack(np.unravel_index(np.maximum(keys, 0), (LEVELS,) * 3), -1)
    return np.where(keys[..., None] < 0, -1, unpacked)


def cut_quads(corners: IntArray) -> IntArray:
    """Every quad of corners [faces, 4, 3] cut from its first to its third corner."""
    quad = corners[:, 3, 0] >= 0
    cut = np.stack([corners[:, [0, 1, 2, 3]], corners[:, [0, 2, 3, 3]]], 1)
    cut[:, :, 3] = -1
    return cut[np.stack([np.ones_like(quad), quad], 1)]


# ---- captions


def vary_caption(caption: str, grid: Grid, metres: float, chance: float, rng: np.random.Generator) -> str:
    """The caption in other words, each kind of change with that chance: proportions and size said, a synonym, words left out.

    grid: the mesh as it is drawn, [faces, 12]. metres: its longest side, 0 if it is not known.
    """
    if not caption:
        return caption
    if rng.random() < chance and " with" in caption:
        caption = re.split(r",? with(?:out)? ", caption)[0]
    if rng.random() < chance:
        caption = without(caption, FILLERS | COLOURS)
    if rng.random() < chance:
        caption = reworded(caption, rng)
    if rng.random() < chance and (word := proportion(grid)) and word not in caption:
        caption = with_word(caption, word)
    if rng.random() < chance and metres > 0:
        caption += f", {size_phrase(grid, metres, rng)}"
    return caption


def without(caption: str, words: frozenset[str]) -> str:
    """The caption without these words, unless nothing but an article would be left."""
    kept = [word for word in caption.split() if word not in words]
    return right_article(" ".join(kept)) if len(set(kept) - {"a", "an", "the"}) else caption


def reworded(caption: str, rng: np.random.Generator) -> str:
    """One word or phrase that has synonyms replaced by one of them."""
    present = [word for word in OTHERS if re.search(rf"\b{word}\b", caption)]
    if not present:
        return caption
    word = present[rng.integers(len(present))]
    other = OTHERS[word][rng.integers(len(OTHERS[word]))]
    return right_article(re.sub(rf"\b{word}\b", other, caption, count=1))


def proportion(grid: Grid) -> str:
    """The word for a shape that is plainly longer one way than the others: "tall", "flat", "long", or "" for none."""
    high, *floor = extents(grid).tolist()
    narrow, wide = sorted(floor)
    if high >= 2 * wide:
        return "tall"
    if high <= 0.2 * narrow:
        return "flat"
    return "long" if wide >= 2.5 * narrow else ""


def size_phrase(grid: Grid, metres: float, rng: np.random.Generator) -> str:
    """One of the three sizes of a mesh whose longest side is that long: "2.5 m wide", "80 cm tall" or "4 mm deep"."""
    axis, steps = int(rng.integers(3)), extents(grid)
    word, size = ("tall", "deep", "wide")[axis], metres * steps[axis] / steps.max()
    if size >= 1:
        return f"{size:.1f} m {word}"
    return f"{100 * size:.0f} cm {word}" if size >= 0.01 else f"{1000 * size:.0f} mm {word}"


def extents(grid: Grid) -> NDArray[np.int16]:
    """[3] steps of the grid from one side to the other, z, y, x."""
    corners = grid.reshape(-1, 3)
    steps: NDArray[np.int16] = np.ptp(corners[corners[:, 0] >= 0], axis=0)
    return steps


def with_word(caption: str, word: str) -> str:
    """The word as the caption's first adjective."""
    article, _, rest = caption.partition(" ")
    return f"a {word} {rest}" if article in ("a", "an") and rest else f"{word} {caption}"


def right_article(caption: str) -> str:
    """ "a" or "an" as the word after it asks."""
    article, _, rest = caption.partition(" ")
    return with_article(rest) if article in ("a", "an") and rest else caption
