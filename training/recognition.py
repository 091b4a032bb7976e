"""A small judge of shapes: a network over surface points (after PointNet, Qi et al. 2017) that tells the procedural families apart.

It is trained apart from any generator, on procedural meshes alone, and says how well it does on ones it has not seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from core.mesh import FloatArray, Mesh
from training.metrics import sample_points
from training.procedural import generate

POINTS = 256
EPOCHS = 20
BATCH = 32


class PointNet(nn.Module):
    """Points [b, points, 3] to scores [b, classes]; their order does not matter."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.points = nn.Sequential(nn.Linear(3, 64), nn.ReLU(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 256))
        self.whole = nn.Sequential(nn.LayerNorm(256), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, classes))

    def forward(self, points: Tensor) -> Tensor:
        scores: Tensor = self.whole(self.points(points - points.new_tensor([0, 0, 0.5])).amax(1))
        return scores


@dataclass(frozen=True)
class Recogniser:
    """families: what it tells apart. accuracies: of each, its share of right answers on held-out procedural meshes."""

    network: PointNet
    families: tuple[str, ...]
    accuracies: dict[str, float]

    @property
    def accuracy(self) -> float:
        """Over all families, each counted alike."""
        return sum(self.accuracies.values()) / len(self.accuracies)

    @torch.no_grad()
    def families_of(self, clouds: FloatArray) -> list[str]:
        """The likeliest family of each of the point sets [n, points, 3] in the unit box."""
        return [self.families[i] for i in self.network(torch.from_numpy(clouds)).argmax(1).tolist()]


def point_clouds(meshes: Sequence[Mesh], points: int, rng: np.random.Generator) -> FloatArray:
    """[meshes, points, 3] points on the surface of each mesh, put into the unit box. Raises ValueError for a mesh without area."""
    clouds = [mesh.frame().to_unit(sample_points(mesh, points, rng)) for mesh in meshes]
    return np.stack(clouds) if clouds else np.zeros((0, points, 3), np.float32)


def train_recogniser(families: Sequence[str], seeds: range, held_out: range, seed: int = 0) -> Recogniser:
    """Learn to tell families apart from the procedural meshes of the seeds; some two minutes for 64 families of 80 on one core."""
    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    clouds, labels = drawn(families, seeds, rng)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = PointNet(len(families))
    optimizer = torch.optim.AdamW(network.parameters(), 2e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    for _ in tqdm(range(EPOCHS), desc="recogniser"):
        for chosen in torch.randperm(len(labels), generator=generator).split(BATCH):
            stretch = torch.rand(len(chosen), 1, 3, generator=generator) * 0.4 + 0.8
            loss = F.cross_entropy(network(clouds[chosen] * stretch), labels[chosen], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
    network.eval()
    clouds, labels = drawn(families, held_out, rng)
    with torch.no_grad():
        right = (network(clouds).argmax(1) == labels).float().view(len(families), -1).mean(1).tolist()
    return Recogniser(network, tuple(families), dict(zip(families, right, strict=True)))


def drawn(families: Sequence[str], seeds: range, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Point clouds [n, POINTS, 3] of every family and seed, and the number of each one's family [n]."""
    meshes = [generate(family, number).mesh for family in families for number in seeds]
    labels = torch.arange(len(families)).repeat_interleave(len(seeds))
    return torch.from_numpy(point_clouds(meshes, POINTS, rng)), labels
