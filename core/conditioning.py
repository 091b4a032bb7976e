"""Conditions as the transformer sees them: towers that turn prompts into token embeddings, properties as tokens beside them, and the
arithmetic of guidance.

The default tower is OpenCLIP's text transformer over OpenCLIP's byte-pair tokenizer, small and trained with the rest, so that nothing is
downloaded. OpenCLIP's own towers can stand beside it or in its place. An absent condition is the empty prompt.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.properties import EXTENTS, KINDS, NUMBERS

SMALL = "small"  # the name of the default tower


@cache
def open_clip() -> Any:
    """The open_clip package, imported on first use: it takes seconds.

    Beside a torch without CUDA its torchvision fails to import for want of two operators that text never calls; then they are declared.
    """
    try:
        return importlib.import_module("open_clip")
    except RuntimeError:
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        module: Any = importlib.import_module("open_clip")
        module.declared_operators = library  # they vanish with the object that declared them
        return module


@dataclass(frozen=True)
class TextConfig:
    """Sizes of a tower. width: of a token embedding. context: longest prompt in tokens; the rest is cut off. quick_gelu: the activation of
    OpenAI's weights, x sigmoid(1.702 x), instead of GELU.
    """

    width: int = 128
    layers: int = 2
    heads: int = 4
    context: int = 32
    vocabulary: int = 49408
    quick_gelu: bool = False


@dataclass(frozen=True)
class Text:
    """Prompts as the transformer reads them. tokens: [b, t, width]. mask: [b, t], True where a token stands; at least one does.

    extents: [b, 3] those of the properties that are among the tokens, the longest 1, NaN where open; None if all are.
    """

    tokens: Tensor
    mask: Tensor
    extents: Tensor | None = None

    def last(self) -> Tensor:
        """[b] where the last token of each prompt stands."""
        return torch.where(self.mask, torch.arange(self.mask.shape[1], device=self.mask.device), 0).amax(1)

    def pooled(self) -> Tensor:
        """[b, width] the last token of each prompt, which has seen the others."""
        return self.tokens[torch.arange(len(self.tokens), device=self.tokens.device), self.last()]

    def select(self, rows: Tensor) -> Text:
        """Those rows, in that order."""
        return Text(self.tokens[rows], self.mask[rows], None if self.extents is None else self.extents[rows])

    @classmethod
    def stack(cls, texts: Sequence[Text]) -> Text:
        """The rows of all texts, one below the other, padded to the same length."""
        longest = max(text.mask.shape[1] for text in texts)
        padded = [(longest - text.mask.shape[1], text) for text in texts]
        tokens = torch.cat([F.pad(text.tokens, (0, 0, 0, missing)) for missing, text in padded])
        mask = torch.cat([F.pad(text.mask, (0, missing)) for missing, text in padded])
        if all(text.extents is None for text in texts):
            return cls(tokens, mask)
        known = [tokens.new_full((len(text.mask), 3), torch.nan) if text.extents is None else text.extents for text in texts]
        return cls(tokens, mask, torch.cat(known))

    def behind(self, other: Text) -> Text:
        """The tokens of both, the other's first. What the other says is also added to this one's last token, which stands for the whole."""
        last = F.one_hot(self.last(), self.mask.shape[1])[..., None].to(self.tokens)
        said = (other.tokens * other.mask[..., None]).sum(1, keepdim=True)
        return Text(torch.cat([other.tokens, self.tokens + last * said], 1), torch.cat([other.mask, self.mask], 1), other.extents)

    @classmethod
    def from_embeddings(cls, embeddings: Tensor) -> Text:
        """Of text embeddings [b, t, width] in which a token of nothing but zeros is padding."""
        return cls(embeddings, (embeddings != 0).any(-1))


class TextTower(nn.Module):
    """Token ids [b, t] to Text."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.config = config
        parts = open_clip().transformer
        self.transformer = parts.TextTransformer(
            context_length=config.context,
            vocab_size=config.vocabulary,
            width=config.width,
            heads=config.heads,
            layers=config.layers,
            output_dim=None,
            proj_type="none",
            output_tokens=True,
            act_layer=parts.QuickGELU if config.quick_gelu else nn.GELU,
        )

    def forward(self, ids: Tensor) -> Text:
        """ids: [b, context]. The Text is as long as the longest of the prompts."""
        _, tokens = self.transformer(ids)
        ends = ids.argmax(1, keepdim=True)  # the end token has the highest id
        longest = int(ends.max()) + 1
        return Text(tokens[:, :longest], torch.arange(longest, device=ids.device) <= ends)


def open_clip_tower(name: str, pretrained: str | None = None, download: bool = False) -> TextTower:
    """The text tower of OpenCLIP's model `name`, such as "ViT-B-32", frozen, with its final norm and without its projection.

    pretrained: a file of weights of the whole model or of its text tower, or the tag of a set that OpenCLIP knows, such as
    "laion2b_s34b_b79k", which is fetched only if `download` is true; None leaves the weights random.
    Raises ValueError if there is no such model, its text tower is not CLIP's, or the weights are neither here nor may be fetched.
    """
    config = open_clip().get_model_config(name)
    if config is None or "hf_model_name" in config["text_cfg"]:
        known = [other for other in open_clip().list_models() if "hf_model_name" not in open_clip().get_model_config(other)["text_cfg"]]
        raise ValueError(f"OpenCLIP has no model {name!r} with a text tower of its own; use one of {', '.join(known)}")
    sizes = {key: config["text_cfg"][key] for key in ("width", "layers", "heads")}
    known_weights = open_clip().get_pretrained_cfg(name, pretrained) if pretrained else {}
    quick = config.get("quick_gelu", False) or known_weights.get("quick_gelu", False)
    tower = TextTower(TextConfig(**sizes, context=config["text_cfg"]["context_length"], quick_gelu=quick))
    if pretrained is not None:
        load_tower(tower, pretrained_file(name, pretrained, download))
    return tower.requires_grad_(False)


def pretrained_file(name: str, pretrained: str, download: bool) -> Path:
    """The file of weights that `pretrained` names, as in open_clip_tower."""
    if Path(pretrained).is_file():
        return Path(pretrained)
    weights = open_clip().get_pretrained_cfg(name, pretrained)
    if not weights:
        tags = ", ".join(open_clip().list_pretrained_tags_by_model(name))
        raise ValueError(f"there is no file {pretrained!r}, and no such weights of {name}; name a file or one of {tags}")
    if not download:
        raise ValueError(f"the weights {pretrained!r} of {name} are not here, and nothing is fetched unasked; add download=True")
    return Path(open_clip().download_pretrained(weights))


def load_tower(tower: TextTower, path: Path) -> None:
    """Put weights of a whole CLIP, or of its text tower alone, into a tower. Raises ValueError if some that it needs are missing."""
    weights = open_clip().factory.load_state_dict(str(path), weights_only=True)
    found = {name.removeprefix("text."): weight for name, weight in weights.items()}
    needed = tower.transformer.state_dict()
    if missing := [name for name in needed if name not in found]:
        raise ValueError(f"{path} holds no text tower of that kind: it lacks {', '.join(missing[:3])}")
    tower.transformer.load_state_dict({name: found[name] for name in needed})


class PropertyTokens(nn.Module):
    """Properties of meshes as tokens: one for the number of faces, one for the extents, one for the polygons.

    A number is read as itself and as the sines and cosines of six frequencies (Mildenhall et al. 2020).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.frequencies: Tensor
        self.register_buffer("frequencies", torch.pi * 2.0 ** torch.arange(6), persistent=False)
        self.project = nn.ModuleList(nn.Linear(13 * (end - start), width) for start, end in KINDS)

    def forward(self, numbers: Tensor) -> Text:
        """numbers: [b, 5] of Properties.numbers, NaN where open: masked in the Text [b, 3, width]."""
        known = numbers.nan_to_num()
        angles = known[..., None] * self.frequencies
        features = torch.cat([known[..., None], angles.sin(), angles.cos()], -1)
        tokens = [project(features[:, start:end].flatten(1)) for project, (start, end) in zip(self.project, KINDS, strict=True)]
        mask = torch.stack([~numbers[:, start].isnan() for start, _ in KINDS], 1)
        return Text(torch.stack(tokens, 1), mask, numbers[:, EXTENTS])


class TextConditioner(nn.Module):
    """Prompts to Text: the tokens of one or more towers, one behind the other, all as wide as those of the first.

    types: "small", or names of OpenCLIP's models. kwargs: for each the fields of TextConfig, or the options of `open_clip_tower`.
    properties: whether it knows tokens for a mesh's properties too.
    Raises ValueError if there are not as many of the one as of the other.
    """

    def __init__(self, types: Sequence[str] = (SMALL,), kwargs: Sequence[dict[str, Any]] = ({},), properties: bool = False) -> None:
        super().__init__()
        if len(types) != len(kwargs) or not types:
            raise ValueError(f"text_condition_model_types has {len(types)} entries, its kwargs {len(kwargs)}; give as many of both")
        self.towers: list[TextTower] = nn.ModuleList(  # type: ignore[assignment]
            TextTower(TextConfig(**options)) if name == SMALL else open_clip_tower(name, **options)
            for name, options in zip(types, kwargs, strict=True)
        )
        self.width = self.towers[0].config.width
        self.same_width = nn.ModuleList(
            nn.Identity() if tower.config.width == self.width else nn.Linear(tower.config.width, self.width) for tower in self.towers
        )
        self.properties = PropertyTokens(self.width) if properties else None

    def forward(self, prompts: Sequence[str]) -> Text:
        """[prompts, t, width] as Text. An empty prompt stands for no text."""
        device = self.towers[0].transformer.positional_embedding.device
        parts = []
        for tower, project in zip(self.towers, self.same_width, strict=True):
            text = tower(tokenize([prompt.strip() for prompt in prompts], tower.config.context).to(device))
            parts.append(Text(project(text.tokens), text.mask))
        return parts[0] if len(parts) == 1 else Text(torch.cat([p.tokens for p in parts], 1), torch.cat([p.mask for p in parts], 1))

    def with_properties(self, text: Text, numbers: Tensor | None) -> Text:
        """The text behind tokens of its meshes' properties [b, 5], NaN where open; None leaves all of them open.

        Raises ValueError for another shape, or if the conditioner knows no properties.
        """
        if numbers is None:
            return text
        if self.properties is None:
            raise ValueError("properties are given to a transformer without them; make it with condition_on_properties=True")
        if numbers.shape != (len(text.tokens), NUMBERS):
            raise ValueError(f"properties has shape {list(numbers.shape)}; use [{len(text.tokens)}, {NUMBERS}] for as many meshes")
        return text.behind(self.properties(numbers.to(text.tokens.device, torch.float32)))


def tokenize(texts: Sequence[str], context: int) -> Tensor:
    """Token ids [texts, context], padded with zeros; what does not fit is cut off."""
    ids: Tensor = byte_pairs(context)(list(texts))
    return ids


@cache
def byte_pairs(context: int) -> Any:
    """OpenCLIP's tokenizer: reading its vocabulary takes a tenth of a second."""
    return open_clip().tokenizer.SimpleTokenizer(context_length=context)


class FiLM(nn.Module):
    """Features scaled and shifted by a condition (Perez et al. 2018); at first they pass unchanged."""

    def __init__(self, condition: int, dim: int) -> None:
        super().__init__()
        self.project = nn.Linear(condition, 2 * dim)
        nn.init.zeros_(self.project.weight)
        nn.init.zeros_(self.project.bias)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """x: [b, ..., dim]. condition: [b, width]."""
        scale, shift = self.project(condition).view(len(x), *[1] * (x.ndim - 2), -1).chunk(2, -1)
        return x * (1 + scale) + shift


def guide(logits: Tensor, scale: float, remove_parallel_component: bool = False) -> Tensor:
    """Classifier-free guidance (Ho and Salimans 2022): logits [2 b, ...], first with the text, then without, to [b, ...].

    scale: 1 leaves the text's own logits; above 1 moves further from those without text. remove_parallel_component: move only at right
    angles to the text's own logits, which keeps high scales from exaggerating (Sadat et al. 2024).
    """
    given, null = logits.chunk(2)
    update = given - null
    if remove_parallel_component:
        along = F.normalize(given, dim=-1)
        update = update - (update * along).sum(-1, keepdim=True) * along
    return given + (scale - 1) * update
