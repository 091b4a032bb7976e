"""Engine: the transformer's weights in the form that generation wants, and the loop's steps over them without anything that can be spared.

It stands between a MeshTransformer and core.decoding, which asks it for the same steps as the transformer itself (`Stepper`), and its
logits are the transformer's. What differs: matrices that read the same input are one matrix, norms' gains and the attention's scale are
part of the matrix behind them, memories are set aside once and used again by the next request, and no module is called in a step.

Letters: r rows, h heads, w width of a head, d width, g positions in sequence, t text tokens.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from core.conditioning import Text
from core.engine_layers import Layer, Matrix, TextMemory, Turns, int8_pays, matrix
from core.engine_weights import Reader, Weights, read_coarse, read_fine
from core.hints import HINTS, corner_hints, point, still_told, told, told_by_level, told_of_faces
from core.symbols import IGNORE, to_symbols, to_targets
from core.tokenizer import Tokenizer
from core.transformer_config import TransformerConfig

KNOWN = {
    *("dim", "max_seq_len", "attn_depth", "attn_dim_head", "attn_heads", "fine_attn_depth", "fine_attn_dim_head", "fine_attn_heads"),
    *("flash_attn", "dropout", "local_attn_window_size", "quads", "condition_on_text"),
    *("text_condition_model_types", "text_condition_model_kwargs", "text_condition_cond_drop_prob", "condition_on_properties"),
    "corner_hints",
}  # options of which it knows every value, or which do not change what is generated
LARGE = 32 * 2**20  # numbers: of as many bytes hardly a processor's last cache holds more


@dataclass
class Run:
    """What one generation carries from step to step; an engine has one at a time.

    faces, vertices: remembered so far by the coarse and the fine stack. text: of each coarse layer. base: what each code of this face
    starts from [r, d], the plan and its place. hints: what is read of those before this vertex [r, d], and told: what they still tell of
    each of its codes [r, k, 6], if anything is told. vertex: embedding of what is known of this vertex [r, d]. known: the same, and what
    is known of the vertex before and of the hints. turn, seen: what rotary does at this vertex, and what it attends to. corners: this
    face's finished vertices, behind the last one of the face before.
    """

    engine: Engine
    text: list[TextMemory | None]
    base: tuple[Tensor, ...]
    corners: list[Tensor]
    faces: int
    vertices: int
    hints: Tensor | None = field(init=False, default=None)
    told: Tensor | None = field(init=False, default=None)
    vertex: Tensor = field(init=False)
    known: Tensor = field(init=False)
    turn: Tensor = field(init=False)
    seen: slice = field(init=False)

    def select(self, rows: Tensor) -> None:
        """Row i becomes what row rows[i] was: rows leave, or are there several times. Between faces only."""
        for layers, length in ((self.engine.coarse, self.faces), (self.engine.fine, self.vertices)):
            for layer in layers:
                layer.memory.select(rows, length)
        heads = self.engine.coarse[0].heads
        places = (rows[:, None] * heads + torch.arange(heads, device=rows.device)).flatten()
        self.text = [text and TextMemory(text.keys[places], text.values[places], text.bias[places]) for text in self.text]
        self.base = tuple(base[rows] for base in self.base)
        self.corners = [corner[rows] for corner in self.corners]


class Engine:
    """The steps of generation over a transformer's weights, as they are now: training goes on without it.

    tokenizer: the transformer's. weights: by name, as in MeshTransformer.state_dict(), on any device. Raises ValueError if the engine does
    not know transformers of that configuration, KeyError or ValueError if the weights are not of that configuration.

    window: faces that are attended to, the present one included; None for all of them. The time of a face is then bounded, and faces
    further back are forgotten. precision: of the weights, "fp32" or "int8", or "auto" for the faster one: int8 on a CPU with AVX-512.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        config: TransformerConfig,
        weights: Weights,
        device: torch.device | str = "cpu",
        window: int | None = None,
        precision: str = "auto",
    ) -> None:
        if reason := self.supports(config):
            raise ValueError(f"the engine cannot run this transformer: {reason}; decode with the transformer itself")
        self.vertices_per_face, self.codes_per_vertex = tokenizer.vertices_per_face, tokenizer.codes_per_vertex
        self.codes_per_face, self.codebook_size = tokenizer.codes_per_face, tokenizer.codebook_size
        self.tokenizer, self.reads_hints = tokenizer, config.corner_hints
        self.max_faces = config.max_seq_len // self.codes_per_face
        self.device = torch.device(device)
        self.window = config.local_attn_window_size if window is None else window
        if precision == "auto":
            precision = "int8" if self.device.type == "cpu" and int8_pays() else "fp32"
        weights = Reader(weights, self.device)
        self.has_small_steps = precision == "fp32" or weights.numbers() <= LARGE  # fp32 products of one row run on one thread anyway
        self.coarse = [Layer(block, precision) for block in read_coarse(weights, config)]
        self.fine = [Layer(block, precision) for block in read_fine(weights, config)]
        self.coarse_turns, self.fine_turns = (Turns(layers[0].width, self.device) for layers in (self.coarse, self.fine))
        vectors = F.pad(tokenizer.code_vectors().to(self.device), (0, 0, 0, 2))
        self.table = weights["code_embedding"] + vectors @ weights["code_projection"]
        self.levels, self.kinds = (torch.arange(count, device=self.device) for count in (self.codes_per_vertex, HINTS))
        self.start_vertex, self.start_face = weights["start_vertex"], weights["start_faces"][0]
        self.places = weights["slot_embedding"].flatten(0, 1)[:, None]  # [v k, 1, d]
        self.given = weights["given_embedding.weight"]
        self.last_vertex = matrix(weights["last_vertex.weight"], precision)
        self.hints = None  # [hints, k, vocabulary, d]
        if config.corner_hints:
            self.hints = torch.stack([self.table @ weight.t() for weight in weights["hints.weight"].chunk(HINTS, 1)])
        self.text_start = Matrix(weights["text_start.weight"]) if config.condition_on_text else None
        self.plan = matrix(weights["plan.weight"] * (1 + weights["coarse.attention.final_norm.gamma"]), precision)
        projection = weights["face_projection.weight"]
        self.face_projection = matrix(projection, precision)
        self.heads = [matrix(head.t() * weights["fine.norm.weight"], precision) for head in weights["head"]]
        dim, d = config.widths
        fits = projection.shape == (dim, self.vertices_per_face * d) and len(self.heads) == self.codes_per_vertex
        if not fits or weights.unread():
            raise ValueError(f"the weights are not those of a transformer of width {dim} with {config.attn_depth} layers")

    @staticmethod
    def supports(config: TransformerConfig) -> str | None:
        """None, or why a transformer of this configuration is not for the engine."""
        plain = TransformerConfig()
        names = [field.name for field in dataclasses.fields(config)]
        changed = [name for name in names if name not in KNOWN and getattr(config, name) != getattr(plain, name)]
        return f"it does not know {' and '.join(changed)}" if changed else None

    # ---- before the first new face

    def begin(self, text: Text | None, given: Tensor | None, capacity: int, drawn: int = 0) -> Run:
        """As MeshTransformer.begin: memories for `capacity` faces, filled with the faces `given` [r, n, v k] in one pass.

        Ends the run before, whose memories it takes over.
        """
        rows = len(text.tokens) if text is not None else 1 if given is None else len(given)
        self.reserve(rows, capacity)
        kept, start = self.read(text), self.start(text, rows)
        if given is None or not given.shape[1]:
            plan = self.read_faces((start + self.given[0])[:, None], kept)[:, -1]
            return Run(self, kept, self.base(plan), [self.start_vertex.expand(rows, -1)], faces=1, vertices=0)
        vertices, count = self.embed(given).sum(3), given.shape[1]
        ahead = torch.cat([self.given[1].expand(count - drawn, -1), self.given[0].expand(drawn + 1, -1)])
        plan = self.read_faces(torch.cat([start[:, None], self.join(vertices)], 1) + ahead, kept)
        x = self.before(vertices) + self.places[:: self.codes_per_vertex, 0] + plan[:, :-1, None]
        if self.reads_hints:
            counts = torch.full((rows,), count - drawn)
            x += self.read_hints(corner_hints(self.tokenizer, given, counts, text)[:, :-1])
        self.read_vertices(x.flatten(1, 2)[:, :, None])
        return Run(self, kept, self.base(plan[:, -1]), [vertices[:, -1, -1]], faces=count + 1, vertices=count * self.vertices_per_face)

    def reserve(self, rows: int, capacity: int) -> None:
        """Room for so many rows of so many faces."""
        faces, vertices = capacity + 1, (capacity + 1) * self.vertices_per_face
        for layers, turns, positions in ((self.coarse, self.coarse_turns, faces), (self.fine, self.fine_turns, vertices)):
            turns.reach(positions)
            for layer in layers:
                layer.memory.reserve(rows, positions)

    def embed(self, codes: Tensor) -> Tensor:
        """Faces of codes [r, n, v k] as embeddings [r, n, v, k, d]."""
        symbols = to_symbols(codes, self.codes_per_vertex, self.codebook_size)
        return torch.stack([self.table[level][symbols[..., level]] for level in range(self.codes_per_vertex)], 3)

    def join(self, vertices: Tensor) -> Tensor:
        """Vertices [r, n, v, d] as faces [r, n, D]."""
        return self.face_projection(vertices.flatten(0, 1).flatten(1)).unflatten(0, vertices.shape[:2])

    def start(self, text: Text | None, rows: int) -> Tensor:
        """[r, D] what the coarse stack reads before the first face."""
        if text is None or self.text_start is None:
            return self.start_face.expand(rows, -1)
        return self.start_face + self.text_start(text.pooled())

    def read(self, text: Text | None) -> list[TextMemory | None]:
        """What each coarse layer keeps of a text."""
        return [None if text is None else layer.read(text) for layer in self.coarse]

    def read_faces(self, x: Tensor, text: list[TextMemory | None]) -> Tensor:
        """The plans [r, n, d] after the start and faces x [r, n, D]."""
        x = x[:, :, None]
        for layer, kept in zip(self.coarse, text, strict=True):
            x = layer.read_all(x, self.coarse_turns.table[: x.shape[1]], self.window, kept)
        return self.plan(torch.layer_norm(x, x.shape[-1:]).flatten(0, 2)).unflatten(0, x.shape[:2])

    def before(self, vertices: Tensor) -> Tensor:
        """What the fine stack reads of the vertex before each of the vertices [r, n, v, d]."""
        flat = vertices.flatten(1, 2)
        flat = torch.cat([self.start_vertex.expand(len(flat), 1, -1), flat[:, :-1]], 1)
        return self.last_vertex(flat.flatten(0, 1)).view(vertices.shape)

    def read_hints(self, symbols: Tensor) -> Tensor:
        """What the fine stack reads of hints of symbols [..., 6, k]: [..., d]."""
        assert self.hints is not None
        return self.hints[self.kinds[:, None], self.levels, symbols].sum((-3, -2))

    def read_vertices(self, x: Tensor) -> Tensor:
        """[r, g, k, d] the fine stack's answer to the codes x [r, g, k, d] of all vertices, which it remembers."""
        window = None if self.window is None else self.window * self.vertices_per_face
        for layer in self.fine:
            x = layer.read_all(x, self.fine_turns.table[: x.shape[1]], window, None)
        return x

    def base(self, plan: Tensor) -> tuple[Tensor, ...]:
        """What each of the codes of a face with this plan [r, d] starts from [r, d]."""
        return (self.places + plan).unbind()

    # ---- steps

    def tell_hints(self, run: Run, symbols: Tensor) -> None:
        """As MeshTransformer.tell_hints."""
        run.hints, run.told = self.read_hints(symbols), told(symbols, self.codebook_size + 1)

    def step_fine(self, run: Run, vertex: int, level: int) -> Tensor:
        """Logits [r, vocabulary] of code `level` of corner `vertex` of the face that is planned."""
        if level == 0:
            self.begin_vertex(run)
        x = run.base[vertex * self.codes_per_vertex + level] + run.known
        for layer in self.fine:
            x = layer.step(x, run.turn, None if level else run.seen)
        return self.read_head(x, level, None if run.told is None else run.told[:, level])

    def read_head(self, x: Tensor, level: int, told: Tensor | None) -> Tensor:
        """Logits [n, vocabulary] of codes of a level from the fine stack's answer x [n, d]. told: [n, 6] what hints tell of them."""
        scores = self.heads[level](torch.layer_norm(x, self.fine[0].norm)).float()
        return scores if told is None else point(scores, told)

    def step_vertex(self, run: Run, vertex: int, draft: Tensor) -> Tensor:
        """Logits [r, k, vocabulary] of all codes of a corner in one go, each as if those before it were the draft's [r, k].

        In place of the corner's first `step_fine`; from where something else is drawn than the draft, `step_fine` goes on.
        """
        k = self.codes_per_vertex
        self.begin_vertex(run)
        embeddings = [self.table[level].index_select(0, draft[:, level]) for level in range(k - 1)]
        x = torch.stack([run.known, *embeddings], 1).cumsum(1) + torch.stack(run.base[vertex * k : (vertex + 1) * k], 1)
        for layer in self.fine:
            x = layer.step_group(x, run.turn, run.seen)
        known = [None] * k if run.told is None else told_by_level(run.told, draft, self.codebook_size + 1)
        return torch.stack([self.read_head(x[:, level], level, of_level) for level, of_level in enumerate(known)], 1)

    def begin_vertex(self, run: Run) -> None:
        run.known = self.last_vertex(run.corners[-1])
        if run.hints is not None:
            run.known = run.known + run.hints
        run.vertices += 1
        run.turn = self.fine_turns.table[run.vertices - 1]
        run.seen = self.seen(run.vertices, self.vertices_per_face)

    def seen(self, length: int, of_a_face: int) -> slice:
        """The positions that the last of `length` attends to. of_a_face: how many positions a face has."""
        return slice(0 if self.window is None else max(0, length - self.window * of_a_face), length)

    def take(self, run: Run, level: int, symbols: Tensor) -> None:
        """Take the symbols [r] drawn for that level of the present corner."""
        embedding = self.table[level].index_select(0, symbols)
        run.known = run.known + embedding
        run.vertex = run.vertex + embedding if level else embedding
        if level == self.codes_per_vertex - 1:
            run.corners.append(run.vertex)
        elif run.told is not None:
            run.told = still_told(run.told, level, symbols, self.codebook_size + 1)

    def finish_face(self, run: Run, symbols: Tensor) -> None:
        """The face that was taken is complete: plan the next one. symbols: [r, v, k], which a run knows already."""
        x = self.face_projection(torch.cat(run.corners[1:], 1)) + self.given[0]
        turn, seen = self.coarse_turns.table[run.faces], self.seen(run.faces + 1, 1)
        run.faces += 1
        for layer, text in zip(self.coarse, run.text, strict=True):
            x = layer.step(x, turn, seen, text)
        run.base = self.base(self.plan(torch.layer_norm(x, x.shape[-1:])))
        run.corners = run.corners[-1:]

    # ---- a whole mesh at once

    def nats(self, codes: Tensor, text: Text | None, given: Tensor) -> Tensor:
        """[r, n + 1] as MeshTransformer.nats: what every face and the end cost. Ends the run before."""
        rows, count = codes.shape[:2]
        self.reserve(rows, count)
        embedded = self.embed(codes)
        vertices = embedded.sum(3)
        ahead = self.given[(torch.arange(count + 1, device=self.device) < given[:, None]).long()]
        plan = self.read_faces(torch.cat([self.start(text, rows)[:, None], self.join(vertices)], 1) + ahead, self.read(text))
        embedded = F.pad(embedded, (0, 0, 0, 0, 0, 0, 0, 1))
        before = self.before(F.pad(vertices, (0, 0, 0, 0, 0, 1)))
        known: Sequence[Tensor | None] = [None] * self.codes_per_vertex
        if self.reads_hints:
            hints = corner_hints(self.tokenizer, codes, given, text)
            before, known = before + self.read_hints(hints), told_of_faces(hints, codes, self.codebook_size)
        x = embedded.cumsum(3) - embedded + before[:, :, :, None]
        x = self.read_vertices((x + self.places.view(x.shape[2:]) + plan[:, :, None, None]).flatten(1, 2)).flatten(0, 1)
        wanted = to_targets(codes, self.codes_per_vertex, self.codebook_size).flatten(0, 2)
        logits = [self.read_head(x[:, level], level, of_level) for level, of_level in enumerate(known)]
        nats = [F.cross_entropy(logit, wanted[:, level], ignore_index=IGNORE, reduction="none") for level, logit in enumerate(logits)]
        return torch.stack(nats).sum(0).view(rows, count + 1, -1).sum(-1)
