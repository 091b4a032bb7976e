"""MeshTransformer: the distribution of the next face code, given the text and all codes before it.

Two stacks, as in the decoder of MeshGPT's public reimplementations. The coarse one takes a step a face, reads the text and plans. The fine
one takes a step a code: it starts each face from the coarse state and looks back at every vertex so far, or only at its own face.

Letters: b batch, n faces, v vertices of a face, k codes of a vertex, s start tokens, d width, h heads, t text tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from core.conditioning import FiLM, Text, TextConditioner
from core.decoding import Row, Sampling, decode
from core.discretizer import MeshDiscretizer
from core.geometry import face_geometry
from core.hints import HINTS, box_of, corner_hints, still_told, told, told_of_faces
from core.loss import SummedCrossEntropy, cross_entropies, read_head
from core.pretrained import Pretrained, configure
from core.properties import EXTENTS
from core.stacks import CoarseMemory, CoarseStack, FaceStack
from core.symbols import IGNORE, to_symbols, to_targets
from core.tokenizer import Tokenizer, describe_tokenizer, make_tokenizer
from core.transformer_config import TransformerConfig
from core.vertex_stack import VertexStack
from core.without_memory import WithoutMemory


@dataclass
class DecodeState:
    """What generation carries from step to step.

    coarse, fine: the memories of both stacks. text: what is said, if anything. table: embeddings [k, vocabulary, d].
    last_vertex, partial: the vertex before this one, and what is known of this one [b, d]. hints: what is read of those before this
    vertex [b, d], and told: what they still tell of each of its codes [b, k, 6], if anything is told. plan: for the face at hand [b, d].
    ground: what all codes of this vertex start from [b, d]. centres: of the start tokens and the faces so far [b, s + n, 3], NaN for the
    former; only with face_distance_bias.
    """

    coarse: CoarseMemory
    fine: Any  # FaceMemory or VertexMemory, as the fine stack is
    text: Text | None
    table: Tensor
    last_vertex: Tensor
    partial: Tensor = field(init=False)
    hints: Tensor | None = field(init=False, default=None)
    told: Tensor | None = field(init=False, default=None)
    plan: Tensor = field(init=False)
    ground: Tensor = field(init=False)
    centres: Tensor | None = None

    def select(self, rows: Tensor) -> None:
        """Keep these rows of the batch."""
        self.coarse.select(rows)
        self.fine.select(rows)
        self.text = self.text.select(rows) if self.text else None
        self.centres = None if self.centres is None else self.centres[rows]
        self.last_vertex, self.plan = self.last_vertex[rows], self.plan[rows]


class MeshTransformer(Pretrained, nn.Module):
    """Coarse over faces, fine over codes.

    tokenizer: what the codes mean; a MeshAutoencoder or a MeshDiscretizer. It is not trained.
    config, options: a TransformerConfig, or its fields. Raises ValueError if they do not fit each other or the tokenizer.
    """

    config: TransformerConfig
    has_small_steps = True  # as core.decoding.Stepper has it

    def __init__(self, tokenizer: Tokenizer, config: TransformerConfig | None = None, **options: Any) -> None:
        super().__init__()
        self.config = c = configure(TransformerConfig, config, options)
        check_tokenizer(c, tokenizer)
        self.tokenizer = tokenizer.requires_grad_(False).eval() if isinstance(tokenizer, nn.Module) else tokenizer
        self.vertices_per_face, self.codes_per_vertex = v, k = tokenizer.vertices_per_face, tokenizer.codes_per_vertex
        self.codebook_size = tokenizer.codebook_size
        self.vocabulary = self.codebook_size + 2
        self.max_faces = c.max_seq_len // self.codes_per_face
        self.num_sos_tokens = c.num_sos_tokens or 1
        dim, d = c.widths

        towers = c.text_condition_model_types, c.text_condition_model_kwargs
        self.text = TextConditioner(*towers, properties=c.condition_on_properties) if c.condition_on_text else None
        text_width = self.text.width if self.text else None
        self.code_embedding = nn.Parameter(torch.randn(k, self.vocabulary, d) * 0.2)
        self.code_projection = nn.Parameter(torch.randn(k, tokenizer.code_vectors().shape[-1], d) * 0.1)
        self.start_vertex = nn.Parameter(torch.randn(d) * 0.2)
        self.slot_embedding = nn.Parameter(torch.randn(v, k, d) * 0.2)
        self.last_vertex = nn.Linear(d, d, bias=False)
        self.plan = nn.Linear(dim, d, bias=False)
        if c.corner_hints:
            self.hints = nn.Linear(HINTS * d, d, bias=False)
            nn.init.zeros_(self.hints.weight)

        self.face_projection = nn.Linear(v * d, dim, bias=False)
        self.start_faces = nn.Parameter(torch.randn(self.num_sos_tokens, dim) * 0.5)
        self.given_embedding = nn.Embedding(2, dim)
        if text_width is not None:
            self.text_start = nn.Linear(text_width, dim, bias=False)
        if c.text_cond_with_film and self.text is not None:
            self.coarse_film, self.fine_film = FiLM(self.text.width, dim), FiLM(self.text.width, d)
        if c.face_geometry:
            self.geometry = nn.Linear(3 + 1 + v, dim, bias=False)
        if c.face_distance_bias:
            self.distance = nn.Sequential(nn.Linear(4, 32), nn.SiLU(), nn.Linear(32, c.attn_heads))

        layers = {"attn_flash": c.flash_attn, "attn_dropout": c.dropout, "ff_dropout": c.dropout}
        memory_tokens = {"cross_attn_num_mem_kv": c.cross_attn_num_mem_kv} if c.cross_attn_num_mem_kv else {}
        self.coarse = CoarseStack(
            dim,
            c.attn_depth,
            c.attn_heads,
            c.attn_dim_head,
            text_width=text_width,
            before=c.coarse_pre_gateloop_depth,
            after=c.coarse_post_gateloop_depth,
            adaptive=c.coarse_adaptive_rmsnorm,
            reversible=c.reversible,
            window=c.local_attn_window_size,
            options={**layers, **memory_tokens, **c.attn_kwargs},
        )
        sizes = d, c.fine_attn_depth, c.fine_attn_heads, c.fine_attn_dim_head
        fine: dict[str, Any] = {"before": c.fine_pre_gateloop_depth, "text_width": text_width if c.fine_cross_attend_text else None}
        window = None if c.local_attn_window_size is None else c.local_attn_window_size * v
        self.fine: FaceStack | VertexStack = (
            FaceStack(*sizes, **fine, options=layers)
            if c.fine_reach == "face"
            else VertexStack(*sizes, **fine, positions=(2 * self.max_faces + 1) * v, window=window, dropout=c.dropout)
        )
        self.head = nn.Parameter(torch.zeros(k, d, self.vocabulary + (HINTS if c.corner_hints else 0)))
        for name, parameter in self.fine.named_parameters():
            if name.endswith(("attention.out.weight", "text.out.weight", "feed.3.weight")):
                nn.init.zeros_(parameter)

    def train(self, mode: bool = True) -> Self:
        """As nn.Module.train; the tokenizer stays as it is."""
        super().train(mode)
        if isinstance(self.tokenizer, nn.Module):
            self.tokenizer.eval()
        return self

    def describe(self) -> dict[str, Any]:
        return super().describe() | {"tokenizer": describe_tokenizer(self.tokenizer)}

    @classmethod
    def build(cls, facts: dict[str, Any]) -> Self:
        return cls(make_tokenizer(facts["tokenizer"]), **facts["config"])

    @property
    def codes_per_face(self) -> int:
        """v k."""
        return self.vertices_per_face * self.codes_per_vertex

    @property
    def reads_hints(self) -> bool:
        """Whether it is told what the grammar knows of each corner before it."""
        return self.config.corner_hints

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.start_vertex.device

    # ---- training: all codes at once

    def forward(
        self,
        *,
        vertices: Tensor | None = None,
        faces: Tensor | None = None,
        face_edges: Tensor | None = None,
        codes: Tensor | None = None,
        texts: Sequence[str] | None = None,
        text_embeds: Tensor | None = None,
        properties: Tensor | None = None,
        given: Tensor | None = None,
        cond_drop_prob: float | None = None,
    ) -> Tensor:
        """The loss of a batch of meshes: nats a face, a scalar.

        vertices, faces, face_edges: as the tokenizer's `tokenize` takes them. codes: what it gave, [b, n v, k], or [b, n, v k], padded with
        -1; instead of them. texts, text_embeds: [b] prompts, or [b, t, width] what `embed_texts` gave for them, padded with zeros.
        properties: [b, 5] what else is known of each mesh, as Properties.numbers says it; NaN where open, None for all of them.
        given: [b] how many of the first faces are a given part of a mesh; behind them stands that mesh, whole and in canonical order. Where
        the extents are known the part itself costs nothing.
        cond_drop_prob: instead of text_condition_cond_drop_prob; counts only in training mode.
        Raises ValueError naming the argument for what does not fit: no mesh, other shapes, codes out of range, more faces than the context.
        """
        if codes is None:
            if vertices is None or faces is None:
                raise ValueError("neither vertices and faces nor codes are given; give one of them")
            codes = self.tokenizer.tokenize(vertices=vertices, faces=faces, face_edges=face_edges)
        codes = self.checked(codes.to(self.device), given)
        check_batch(codes, given)
        text = self.read_text(texts, text_embeds, len(codes))
        drop = self.config.text_condition_cond_drop_prob if cond_drop_prob is None else cond_drop_prob
        if text is not None and self.training and drop > 0:
            text = self.drop_text(text, torch.rand(len(codes), device=self.device) < drop)
        text = self.with_properties(text, properties)
        levels = self.by_level(codes, text, given)
        nats = [SummedCrossEntropy.apply(x, head, self.learned(targets, given, text), said) for x, head, targets, said in levels]
        return torch.stack(nats).sum() / (codes[..., 0] >= 0).sum()

    def learned(self, targets: Tensor, given: Tensor | None, text: Text | None) -> Tensor:
        """The targets [b (n + 1) v] of a level without those of given parts of meshes that say their extents: how likely such a part is is
        only asked where it is not known where it stands."""
        if given is None or text is None or text.extents is None:
            return targets
        of_face = targets.view(len(given), -1, self.vertices_per_face)
        is_given = torch.arange(of_face.shape[1], device=self.device) < given.to(self.device)[:, None]
        is_placed = ~text.extents[:, :1].isnan()
        return of_face.masked_fill((is_given & is_placed)[..., None], IGNORE).flatten()

    def nats(self, codes: Tensor, text: Text | None = None, given: Tensor | None = None) -> Tensor:
        """Negative log-likelihood in nats of every face and of the end: [b, n + 1]; codes and given as in `forward`."""
        codes = self.checked(codes, given)
        nats = [cross_entropies(*level) for level in self.by_level(codes, text, given)]
        return torch.stack(nats).sum(0).view(len(codes), codes.shape[1] + 1, -1).sum(-1)

    def logits(self, codes: Tensor, text: Text | None = None, given: Tensor | None = None) -> Tensor:
        """[b, n + 1, v, k, vocabulary] for every code of every face and of one face more, whose first code may be the end."""
        codes = self.checked(codes, given)
        logits = [read_head(x, head, said) for x, head, _, said in self.by_level(codes, text, given)]
        return torch.stack(logits, 1).unflatten(0, (len(codes), -1, self.vertices_per_face))

    def by_level(self, codes: Tensor, text: Text | None, given: Tensor | None) -> list[tuple[Tensor, Tensor, Tensor, Tensor | None]]:
        """Of the codes of each level: what the head reads [b (n + 1) v, d], the head, the targets, and what hints tell [b (n + 1) v, 6]."""
        hints: Tensor | None = None
        known: Sequence[Tensor | None] = [None] * self.codes_per_vertex
        if self.reads_hints:
            hints = corner_hints(self.tokenizer, codes, given, text)
            known = told_of_faces(hints, codes, self.codebook_size)
        x, targets = self.states(codes, text, given, hints), self.targets(codes)
        levels = zip(x.unbind(-2), self.head.unbind(), targets.unbind(-1), known, strict=True)
        return [(rows.flatten(0, 2), head, wanted.flatten(), said) for rows, head, wanted, said in levels]

    def states(self, codes: Tensor, text: Text | None, given: Tensor | None, hints: Tensor | None) -> Tensor:
        """[b, n + 1, v, k, d] what the head reads for each code. hints: [b, n + 1, v, 6, k], to a transformer that `reads_hints`."""
        embedded = self.embed(self.symbols(codes))
        vertices = embedded.sum(3)
        faces = self.join(vertices, codes)
        centres = self.start_centres(self.centres(codes)) if self.config.face_distance_bias else None
        plan = self.plan_faces(torch.cat([self.start(text, codes), faces], 1), given, text, centres)
        embedded = F.pad(embedded, (0, 0, 0, 0, 0, 0, 0, 1))
        partial = embedded.cumsum(3) - embedded
        before = self.before(F.pad(vertices, (0, 0, 0, 0, 0, 1)))
        if hints is not None:
            before = before + self.read_hints(hints)
        return self.fine(self.fine_input(partial + before[:, :, :, None] + rearrange(plan, "b n d -> b n 1 1 d"), text), text)

    # ---- codes

    def checked(self, codes: Tensor, given: Tensor | None = None) -> Tensor:
        """Codes as [b, n, v k]. Raises ValueError if that is not what they are, or if a mesh has more faces than the context holds.

        given: [b] how many faces of each stand before the mesh.
        """
        v, k = self.vertices_per_face, self.codes_per_vertex
        if codes.is_floating_point():
            raise ValueError(f"codes are of type {codes.dtype}; use integers")
        if codes.ndim == 3 and codes.shape[-1] == k and codes.shape[1] % v == 0:
            codes = rearrange(codes, "b (n v) k -> b n (v k)", v=v)
        if codes.ndim != 3 or codes.shape[-1] != v * k:
            raise ValueError(f"codes have shape {list(codes.shape)}; use [meshes, faces, {v * k}] or [meshes, {v} x faces, {k}]")
        if codes.numel() and (codes.min() < -1 or codes.max() >= self.codebook_size):
            raise ValueError(f"codes are in {int(codes.min())}..{int(codes.max())}; use 0..{self.codebook_size - 1}, or -1 for padding")
        if (faces := codes.shape[1] - (int(given.max()) if given is not None and given.numel() else 0)) > self.max_faces:
            raise ValueError(f"a mesh of {faces} faces does not fit a context of {self.max_faces}; use a larger max_seq_len")
        return codes

    def targets(self, codes: Tensor) -> Tensor:
        """[b, n + 1, v, k] symbols to predict; IGNORE for padding and for what is certain."""
        return to_targets(codes, self.codes_per_vertex, self.codebook_size)

    def symbols(self, codes: Tensor) -> Tensor:
        """Codes [b, n, v k] to vocabulary entries [b, n, v, k]."""
        return to_symbols(codes, self.codes_per_vertex, self.codebook_size)

    def code_vectors(self) -> Tensor:
        """[k, vocabulary, width] what the tokenizer says each code means; zeros for `absent` and `end`."""
        return F.pad(self.tokenizer.code_vectors().to(self.device), (0, 0, 0, 2))

    def table(self) -> Tensor:
        """[k, vocabulary, d] the embedding of each code at each level."""
        return self.code_embedding + self.code_vectors() @ self.code_projection

    def embed(self, symbols: Tensor) -> Tensor:
        """Symbols [..., k] to embeddings [..., k, d]."""
        levels = zip(symbols.unbind(-1), self.code_embedding.unbind(), self.code_vectors(), self.code_projection.unbind(), strict=True)
        embedded = [F.embedding(of_level, learned) + F.embedding(of_level, vectors) @ meant for of_level, learned, vectors, meant in levels]
        return torch.stack(embedded, -2)

    # ---- the coarse stack's input and output

    def join(self, vertices: Tensor, codes: Tensor) -> Tensor:
        """Vertices [b, n, v, d] of faces of those codes [b, n, v k] to faces as the coarse stack reads them [b, n, d]."""
        faces = self.face_projection(rearrange(vertices, "b n v d -> b n (v d)"))
        if self.config.face_geometry:
            corners, present = self.corners(codes)
            features = torch.cat(face_geometry(corners.flatten(0, 1), present.flatten(0, 1)), -1)
            faces = faces + self.geometry(features).view_as(faces)
        return faces

    def start(self, text: Text | None, like: Tensor) -> Tensor:
        """[b, s, d] what the coarse stack reads before the first face of each mesh of `like` [b, ...]: the text, in view from the start."""
        start = self.start_faces.expand(len(like), -1, -1)
        return start if text is None else start + self.text_start(text.pooled())[:, None]

    def plan_faces(
        self, x: Tensor, given: Tensor | None, text: Text | None, centres: Tensor | None, memory: CoarseMemory | None = None
    ) -> Tensor:
        """From the start and the faces so far [b, s + n, d], the plan for the face after each [b, n + 1, d].

        given: [b] how many of the faces ahead belong to a given part; None for none. centres: as in DecodeState, None without bias.
        """
        s = self.num_sos_tokens
        ahead = torch.zeros_like(x[..., 0], dtype=torch.long)
        if given is not None:
            face = (torch.arange(x.shape[1], device=x.device) - (s - 1)).clamp(min=0)
            ahead = (face < given[:, None]).long()
        x = x + self.given_embedding(ahead)
        if self.config.text_cond_with_film and text is not None:
            x = self.coarse_film(x, text.pooled())
        bias = None if centres is None else self.distance_bias(centres, x.shape[1])
        return self.plan(self.coarse(x, text, bias, memory)[:, s - 1 :])

    def corners(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Of faces of coordinate codes [..., v k]: where the corners are [..., v, 3], in -1..1, zeros where absent, and which there are."""
        grid = codes.unflatten(-1, (self.vertices_per_face, 3)).flip(-1)
        present = grid[..., 0] >= 0
        return (grid * (2 / (self.codebook_size - 1)) - 1) * present[..., None], present

    def centres(self, codes: Tensor) -> Tensor:
        """[b, n, 3] the middle of each face of codes [b, n, v k]."""
        corners, present = self.corners(codes)
        return corners.sum(-2) / present.sum(-1, keepdim=True).clamp(min=1)

    def start_centres(self, centres: Tensor) -> Tensor:
        """Centres [b, n, 3] behind those of the start tokens, which are nowhere."""
        return F.pad(centres, (0, 0, self.num_sos_tokens, 0), value=float("nan"))

    def distance_bias(self, centres: Tensor, last: int) -> Tensor:
        """[b, h, last, n] what is added to the attention of the `last` faces to all of them, from their centres [b, n, 3]."""
        offset = centres[:, None] - centres[:, -last:, None]
        bias = self.distance(torch.cat([offset, offset.norm(dim=-1, keepdim=True)], -1).nan_to_num())
        nowhere = offset[..., :1].isnan()
        return rearrange(bias.masked_fill(nowhere, 0), "b i j h -> b h i j")

    # ---- the fine stack's input

    def before(self, vertices: Tensor) -> Tensor:
        """For each of the vertices [b, n, v, d], the one before it, or the start, as the fine stack reads it."""
        flat = rearrange(vertices, "b n v d -> b (n v) d")
        flat = torch.cat([self.start_vertex.expand(len(flat), 1, -1), flat[:, :-1]], 1)
        return rearrange(self.last_vertex(flat), "b (n v) d -> b n v d", v=self.vertices_per_face)

    def read_hints(self, symbols: Tensor) -> Tensor:
        """What the fine stack reads of hints of symbols [..., 6, k]: [..., d]."""
        read: Tensor = self.hints(self.embed(symbols).sum(-2).flatten(-2))
        return read

    def fine_input(self, x: Tensor, text: Text | None) -> Tensor:
        """x [b, n, v, k, d] with the place of each code in its face, and the text's scale and shift."""
        x = x + self.slot_embedding
        return self.fine_film(x, text.pooled()) if self.config.text_cond_with_film and text is not None else x

    # ---- text

    def read_text(self, texts: Sequence[str] | None, text_embeds: Tensor | None, rows: int) -> Text | None:
        """The text of a batch of that many rows; the empty prompt where none is given. Raises ValueError if there are not as many."""
        if self.text is None:
            if texts is not None or text_embeds is not None:
                raise ValueError("texts are given to a transformer without text; make it with condition_on_text=True")
            return None
        if text_embeds is not None:
            if text_embeds.ndim != 3 or text_embeds.shape[-1] != self.text.width:
                raise ValueError(f"text_embeds has shape {list(text_embeds.shape)}; use [texts, tokens, {self.text.width}]")
            text = Text.from_embeddings(text_embeds.to(self.device))
        else:
            text = self.text([""] * rows if texts is None else texts)
        if len(text.tokens) != rows:
            raise ValueError(f"texts has {len(text.tokens)} entries for {rows} meshes; give one text a mesh")
        return text

    @torch.no_grad()
    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """[texts, t, width] embeddings that `forward` and `generate` take as text_embeds; zeros where a text is shorter.

        Raises ValueError if the transformer has no text.
        """
        if self.text is None:
            raise ValueError("the transformer has no text to embed with; make it with condition_on_text=True")
        text = self.text(texts)
        return text.tokens * text.mask[..., None]

    def drop_text(self, text: Text, dropped: Tensor) -> Text:
        """The text with the empty prompt in the rows [b] that are `dropped`."""
        assert self.text is not None
        rows = Text.stack([text, self.text([""])])
        return rows.select(torch.where(dropped, len(text.tokens), torch.arange(len(text.tokens), device=self.device)))

    def with_properties(self, text: Text | None, properties: Tensor | None) -> Text | None:
        """The text behind tokens of the properties [b, 5]. Raises ValueError if the transformer knows none, or for another shape."""
        if properties is None:
            return text
        if text is None or self.text is None:
            raise ValueError("properties are given to a transformer without text; make it with condition_on_text=True")
        return self.text.with_properties(text, properties)

    # ---- generation

    @torch.no_grad()
    def generate(
        self,
        *,
        texts: Sequence[str] | None = None,
        text_embeds: Tensor | None = None,
        properties: Tensor | None = None,
        batch_size: int = 1,
        prompt: Tensor | None = None,
        cond_scale: float = 1.0,
        remove_parallel_component: bool = False,
        temperature: float = 1.0,
        min_p: float = 0.0,
        max_faces: int | None = None,
        seed: int | None = None,
        cache_kv: bool = True,
        return_codes: bool = False,
    ) -> tuple[Tensor, Tensor] | Tensor:
        """New meshes: face coordinates [b, n, v, 3], NaN where there is nothing, and which faces there are [b, n].

        texts, text_embeds, properties: one for each mesh, as in `forward`; without them batch_size says how many. prompt: [m, v k] codes
        of faces that all of them begin with. cond_scale, remove_parallel_component: guidance, as in core.conditioning.guide. temperature,
        min_p: as in core.decoding.Sampling. max_faces: the most new faces; None for as many as the context holds. seed: of the draws, row
        by row; None takes one from torch's generator. cache_kv: False works everything out anew at every code, to the same end.
        return_codes: codes [b, n v, k] padded with -1 instead of coordinates.
        Raises ValueError for what does not fit.
        """
        rows = next((len(one) for one in (texts, text_embeds, properties) if one is not None), batch_size)
        sampling = Sampling(temperature, min_p, cond_scale if self.text else 1.0, remove_parallel_component)
        text = self.read_text(texts, text_embeds, rows)
        if text is not None and self.text is not None and sampling.branches == 2:
            text = Text.stack([text, self.text([""] * rows)])
            properties = None if properties is None else torch.cat([properties, properties])
        text = self.with_properties(text, properties)
        given = None if prompt is None else self.checked(prompt[None])[0].cpu().numpy()
        room = self.max_faces - (0 if given is None else len(given))
        if max_faces is not None and not 0 < max_faces <= room:
            raise ValueError(f"max_faces is {max_faces}; use 1..{room}")
        seed = int(torch.randint(1 << 31, ())) if seed is None else seed
        samples = [Row(self.tokenizer.grammar(given), np.random.default_rng((seed, row)), []) for row in range(rows)]
        for sample, numbers in zip(samples, [] if properties is None else properties[:rows].tolist(), strict=False):
            if box := box_of(numbers[EXTENTS], self.tokenizer.levels):
                sample.grammar.tell(*box)
        stepper = self if cache_kv else WithoutMemory(self)
        before, limit = [] if given is None else given.tolist(), max_faces or room
        decode(stepper, text, samples, sampling, given=given, max_faces=limit + len(before))
        codes = self.padded([before + [face for face in sample.faces if face not in before][:limit] for sample in samples])
        return codes if return_codes else self.tokenizer.decode_from_codes_to_faces(codes)

    def padded(self, meshes: list[list[list[int]]]) -> Tensor:
        """Codes [b, n v, k] of meshes of faces of codes, padded with -1."""
        codes = [torch.tensor(faces, dtype=torch.long).view(-1, self.codes_per_vertex) for faces in meshes]
        return nn.utils.rnn.pad_sequence(codes, batch_first=True, padding_value=-1).to(self.device)

    # ---- one step at a time

    def begin(self, text: Text | None, given: Tensor | None, capacity: int, rows: int = 1, drawn: int = 0) -> DecodeState:
        """The state before the first new face: memories for `capacity` faces, filled with the faces `given` [b, n, v k] in one pass.

        rows: how many meshes, where neither text nor given faces say. drawn: how many faces, the last ones, were not given but drawn.
        """
        batch = len(text.tokens) if text is not None else rows if given is None else len(given)
        codes = torch.zeros(batch, 0, self.codes_per_face, dtype=torch.long, device=self.device)
        codes = codes if given is None else given
        state = DecodeState(
            coarse=CoarseMemory(),
            fine=self.fine.memory(batch, (capacity + 1) * self.vertices_per_face, text),
            text=text,
            table=self.table(),
            last_vertex=self.start_vertex.expand(batch, -1),
        )
        vertices = self.embed(self.symbols(codes)).sum(3)
        if self.config.face_distance_bias:
            state.centres = self.start_centres(self.centres(codes))
        count = torch.full((batch,), codes.shape[1] - drawn, device=self.device)
        x = torch.cat([self.start(text, codes), self.join(vertices, codes)], 1)
        plan = self.plan_faces(x, count, text, state.centres, state.coarse)
        if codes.shape[1]:
            embedded = self.embed(self.symbols(codes))
            partial = embedded.cumsum(3) - embedded
            before = self.before(vertices)
            if self.reads_hints:
                before = before + self.read_hints(corner_hints(self.tokenizer, codes, count, text)[:, :-1])
            x = partial + before[:, :, :, None] + rearrange(plan[:, :-1], "b n d -> b n 1 1 d")
            self.fine(self.fine_input(x, text), text, state.fine)
            state.last_vertex = vertices[:, -1, -1]
        state.plan = plan[:, -1]
        return state

    def tell_hints(self, state: DecodeState, symbols: Tensor) -> None:
        """Before a corner, to a transformer that `reads_hints`: the symbols [b, 6, k] of the hints."""
        state.hints, state.told = self.read_hints(symbols), told(symbols, self.codebook_size + 1)

    def step_fine(self, state: DecodeState, vertex: int, level: int) -> Tensor:
        """Logits [b, vocabulary] of code `level` of corner `vertex` of the face that is planned."""
        if level == 0:
            state.partial = torch.zeros_like(state.last_vertex)
            state.ground = state.plan + self.last_vertex(state.last_vertex)
            if state.hints is not None:
                state.ground = state.ground + state.hints
        x = state.ground + state.partial + self.slot_embedding[vertex, level]
        if self.config.text_cond_with_film and state.text is not None:
            x = self.fine_film(x, state.text.pooled())
        said = None if state.told is None else state.told[:, level]
        return read_head(self.fine.step(x, state.fine, vertex, level), self.head[level], said)

    def take(self, state: DecodeState, level: int, symbols: Tensor) -> None:
        """Take the symbols [b] drawn for that level of the present corner."""
        state.partial = state.partial + state.table[level, symbols]
        if level == self.codes_per_vertex - 1:
            state.last_vertex = state.partial
        elif state.told is not None:
            state.told = still_told(state.told, level, symbols, self.codebook_size + 1)

    def finish_face(self, state: DecodeState, symbols: Tensor) -> None:
        """The face of symbols [b, v, k] is complete: plan the next one."""
        codes = symbols.masked_fill(symbols == self.codebook_size, -1).flatten(1)[:, None]
        vertices = torch.stack([state.table[k, symbols[..., k]] for k in range(self.codes_per_vertex)]).sum(0)
        if state.centres is not None:
            state.centres = torch.cat([state.centres, self.centres(codes)], 1)
        x = self.join(vertices[:, None], codes) + self.given_embedding.weight[0]
        if self.config.text_cond_with_film and state.text is not None:
            x = self.coarse_film(x, state.text.pooled())
        bias = None if state.centres is None else self.distance_bias(state.centres, 1)
        state.plan = self.plan(self.coarse(x, state.text, bias, state.coarse)[:, 0])


def check_batch(codes: Tensor, given: Tensor | None) -> None:
    """Raises ValueError if a mesh of codes [b, n, v k] has no face, or `given` [b] does not say how many of its faces are given."""
    counts = (codes[..., 0] >= 0).sum(1)
    if not len(codes):
        raise ValueError("codes holds no mesh; give at least one")
    if (empty := (counts == 0).nonzero().flatten().tolist()):
        raise ValueError(f"codes holds no face in mesh {empty[0]}; leave out empty meshes")
    if given is not None and (given.shape != counts.shape or given.min() < 0 or (given > counts).any()):
        raise ValueError(f"given is {given.tolist()} for meshes of {counts.tolist()} faces; give one number a mesh, no more than its faces")


def check_tokenizer(config: TransformerConfig, tokenizer: Tokenizer) -> None:
    """Raises ValueError if a tokenizer cannot serve a transformer of that configuration."""
    quads = tokenizer.vertices_per_face == 4
    if config.quads is not None and config.quads != quads:
        raise ValueError(f"quads is {config.quads} but the tokenizer's faces have {tokenizer.vertices_per_face} corners; make both alike")
    by_coordinates = [name for name in ("face_geometry", "face_distance_bias", "corner_hints") if getattr(config, name)]
    if by_coordinates and not isinstance(tokenizer, MeshDiscretizer):
        raise ValueError(f"{', '.join(by_coordinates)} needs codes that are coordinates; use a MeshDiscretizer as tokenizer")
    codes = tokenizer.vertices_per_face * tokenizer.codes_per_vertex
    if config.max_seq_len < codes:
        raise ValueError(f"max_seq_len is {config.max_seq_len}, less than the {codes} codes of one face; use a multiple of {codes}")
