"""From a mesh as a file has it to the canonical mesh that is trained on: welded, wound outwards, on the grid, without slivers.

Welding, faces that repeat a corner, doubled faces and unused vertices are `Mesh.canonical`'s work, done once on a grid so fine that
nothing visible moves, so that winding is judged on the whole shape, and once on the grid of the tokenizers.
"""

from __future__ import annotations

from itertools import count

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from core.errors import MeshGPTError
from core.mesh import FloatArray, IntArray, Mesh, compact, polygon_faces, quantise

FINE = 2**15 + 1  # grid points a side while winding is judged; a multiple of the tokenizers' steps, so that halves stay halves
HOPELESS = 20  # times the faces allowed, before the grid has merged any
ATTEMPTS = 8  # at slivers; what is left then is dropped


class Rejected(Exception):
    """A mesh that is left out, and the reason, one of a few so that they can be counted."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def clean(vertices: FloatArray, faces: IntArray, max_faces: int, max_open_edges: float = 1.0) -> Mesh:
    """The canonical mesh, closed pieces wound outwards, every face with an area.

    vertices [vertices, 3], faces [faces, 3 or 4]: as core.mesh.read_file gives them. max_open_edges: largest share of boundary edges.
    Raises Rejected: "unreadable", "not finite", "no extent", "nothing left on the grid", "too many faces", "flat", "too many open edges".
    """
    if len(faces) > HOPELESS * max_faces:
        raise Rejected("too many faces")
    if faces.min() < -1 or faces[:, :3].min() < 0 or faces.max() >= len(vertices):
        raise Rejected("unreadable")
    used, faces = compact(faces)
    vertices = vertices[used]
    if not np.isfinite(vertices).all():
        raise Rejected("not finite")
    if not np.ptp(vertices.astype(np.float64), axis=0).max() > 0:
        raise Rejected("no extent")
    try:
        mesh = without_slivers(orient(Mesh(vertices, faces).canonical(levels=FINE)).canonical())
    except MeshGPTError:
        raise Rejected("nothing left on the grid") from None
    if len(mesh.faces) > max_faces:
        raise Rejected("too many faces")
    if np.ptp(mesh.vertices, axis=0).min() == 0:
        raise Rejected("flat")
    report = mesh.report()
    if report.boundary_edges > max_open_edges * report.edges:
        raise Rejected("too many open edges")
    return mesh


# ---- winding


def orient(mesh: Mesh) -> Mesh:
    """The mesh with neighbouring faces wound alike, and closed pieces wound outwards.

    A piece is what hangs together over edges of exactly two faces. An open piece is turned the way most of its faces are; a piece that
    cannot be wound consistently, like a Moebius strip, is left as it is.
    """
    total = len(mesh.faces)
    owner = np.repeat(np.arange(total), (mesh.faces >= 0).sum(1))
    edges = mesh.edges()
    key, forward = np.sort(edges, 1) @ [len(mesh.vertices), 1], edges[:, 0] < edges[:, 1]
    first, second = edge_pairs(key)
    one, two, alike = owner[first], owner[second], forward[first] != forward[second]
    # every face stands twice in a graph, as it is and turned over; what is linked must be chosen together
    links = np.concatenate([np.stack([one, two + ~alike * total], 1), np.stack([one + total, two + alike * total], 1)])
    label = pieces(links, 2 * total)
    kept, turned = label[:total], label[total:]
    members = np.bincount(kept, minlength=label.max() + 1)
    turn = (members[turned] > members[kept]) | ((members[turned] == members[kept]) & (turned < kept))
    piece = np.minimum(kept, turned)

    signed = np.where(turn, -1, 1) * face_volumes(mesh)
    inside_out = np.bincount(piece, signed, minlength=len(members)) < 0
    _, where, uses = np.unique(piece[owner] * len(mesh.vertices) ** 2 + key, return_inverse=True, return_counts=True)
    is_open = np.bincount(piece[owner], uses[where.reshape(-1)] % 2, minlength=len(members)) > 0
    turn ^= (inside_out & ~is_open)[piece] & (kept != turned)
    return Mesh(mesh.vertices, np.where(turn[:, None], reversed_faces(mesh.faces), mesh.faces))


def edge_pairs(key: IntArray) -> tuple[IntArray, IntArray]:
    """The places [pairs] of the two equal numbers wherever a number stands in `key` exactly twice."""
    order = np.argsort(key, kind="stable")
    is_new = np.ones(len(key) + 1, bool)
    is_new[1:-1] = key[order[1:]] != key[order[:-1]]
    start = np.flatnonzero(is_new)
    twice = start[:-1][np.diff(start) == 2]
    return order[twice], order[twice + 1]


def pieces(links: IntArray, count: int) -> IntArray:
    """[count] which connected piece each of `count` nodes belongs to, given links [links, 2]."""
    graph = coo_array((np.ones(len(links), np.int8), links.T), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1], np.int64)


def face_volumes(mesh: Mesh) -> NDArray[np.float64]:
    """[faces] six times the signed volume between each face and the mesh's middle; their sum over a closed surface wound outwards is
    above 0, wherever the middle is."""
    corners = np.nan_to_num(mesh.quads().face_coordinates().astype(np.float64) - mesh.vertices.mean(0))
    a, b, c, d = corners.transpose(1, 0, 2)
    volumes: NDArray[np.float64] = (a * (np.cross(b, c) + np.cross(c, d))).sum(1)
    return volumes


def reversed_faces(faces: IntArray) -> IntArray:
    """The faces wound the other way, with the same first corner."""
    turned = faces[:, [0, 2, 1]]
    if faces.shape[1] == 3:
        return turned
    return np.where(faces[:, 3:] < 0, np.pad(turned, ((0, 0), (0, 1)), constant_values=-1), faces[:, [0, 3, 2, 1]])


# ---- slivers


def without_slivers(mesh: Mesh) -> Mesh:
    """A canonical mesh without faces that have no area, as rounding leaves them where a face was thin.

    Their corners become corners of the faces around them, so that no gap opens. Raises MeshGPTError (bad_mesh) if no face has an area.
    """
    for attempt in count():
        flat = mesh.is_degenerate()
        if not flat.any():
            break
        faces = mesh.quads().faces
        solid = absorb(quantise(mesh.vertices), faces[~flat], faces[flat]) if attempt < ATTEMPTS else faces[~flat]
        mesh = Mesh(mesh.vertices, solid).canonical()
    return mesh


def absorb(grid: IntArray, faces: IntArray, slivers: IntArray) -> IntArray:
    """[faces, 4] the faces, with the slivers' corners put into every edge that the slivers leave open and that they lie on.

    grid [vertices, 3]: whole numbers, so that lying on an edge is exact.
    """
    solid = [[i for i in face if i >= 0] for face in faces.tolist()]
    owners: dict[frozenset[int], list[int]] = {}
    for number, face in enumerate(solid):
        for edge in face_edges(face):
            owners.setdefault(edge, []).append(number)
    corners = np.unique(slivers[slivers >= 0])
    edges = dict.fromkeys(edge for sliver in slivers.tolist() for edge in face_edges([i for i in sliver if i >= 0]))
    for edge in edges:
        if len(owners.get(edge, ())) != 1:
            continue
        face = solid[owners[edge][0]]
        place = next(i for i in range(len(face)) if {face[i - 1], face[i]} == edge)
        along, offset = grid[face[place]] - grid[face[place - 1]], grid[corners] - grid[face[place - 1]]
        reach = offset @ along
        inside = ~np.cross(offset, along).any(1) & (reach > 0) & (reach < along @ along) & ~np.isin(corners, face)
        face[place:place] = corners[inside][np.argsort(reach[inside])].tolist()
    return polygon_faces(grid.astype(np.float32), solid)


def face_edges(face: list[int]) -> list[frozenset[int]]:
    return [frozenset((face[i - 1], face[i])) for i in range(len(face))]
