"""What is compared, and the bar that each comparison has to reach. A function here measures a few rows that belong together.

"Theirs" is meshgpt-pytorch 1.8.1 with its default sizes: as it ships, and with one residual stream in place of four.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

from benchmarks import worker
from benchmarks.bench import Ask, Bench, ours, theirs
from benchmarks.side import PYTHON, Figures
from benchmarks.table import Bar, Row

MB, MS = 1e6, 1e3
PROMPT = "a chair"
PRECISIONS = ("fp32", "int8")  # the second is what the engine chooses where it pays


def default_model(bench: Bench) -> list[Row]:
    """As an artist uses it, without guidance; theirs has random weights."""
    mine, shipped, single = bench.turns(3, ours("run", seed=0), *theirs("generate", faces=100))
    faces = mine[0]["faces"] / mine[0]["meshes"]
    row = Row(
        "default model, batch 1, warm",
        "faces/s",
        [figures["faces"] / figures["seconds"] for figures in mine],
        [100 / seconds for seconds in column(shipped, "seconds")],
        [100 / seconds for seconds in column(single, "seconds")],
        rising=True,
        share=bench.share(ours("reads", model="default"), median(column(mine, "seconds")) / mine[0]["faces"], faces / 2),
        their_share=bench.share(theirs("reads")[0], median(column(shipped, "seconds")) / 100, 50),
        bars=[Bar("ours", 120), Bar("shipped", 12), Bar("share", 0.6)],
        facts={"faces_a_mesh": faces},
    )
    return [row]


def same_size(bench: Bench) -> list[Row]:
    """Width 512, 12 and 2 layers, a codebook of 16,384, 6 codes a face."""
    faces = 200
    asks = [ours("generate", model="512/12", faces=faces, precision=precision) for precision in PRECISIONS]
    *mine, shipped, single = bench.turns(3, *asks, *theirs("generate", faces=faces))
    rows = []
    for precision, figures, ratio in zip(PRECISIONS, mine, (2.5, 4), strict=True):
        reads = ours("reads", model="512/12", precision=precision)
        seconds = column(figures, "seconds")
        row = Row(
            f"512/12, batch 1, {faces} faces, {precision}",
            "faces/s",
            [faces / each for each in seconds],
            [faces / each for each in column(shipped, "seconds")],
            [faces / each for each in column(single, "seconds")],
            rising=True,
            share=bench.share(reads, median(seconds) / faces, faces / 2),
            their_share=bench.share(theirs("reads")[0], median(column(shipped, "seconds")) / faces, faces / 2),
            bars=[Bar("ratio", ratio), Bar("share", 0.6)],
            facts={"reads": bench.take(reads), "their_reads": bench.take(theirs("reads")[0])},
        )
        rows.append(row)
    return rows


def precision(bench: Bench) -> list[Row]:
    """The default model's weights in the precision that the engine chooses, over fp32: time, and loss on held-out meshes."""
    taken = bench.turns(3, *(ours("generate", model="default", faces=100, precision=precision) for precision in PRECISIONS))
    losses = [bench.take(ours("nats", precision=precision)) for precision in PRECISIONS]
    plain, small = (loss["nats"] for loss in losses)
    change = Row(
        "int8 weights, default model: loss over that of fp32, off by",
        "%",
        [100 * abs(small / plain - 1)],
        bars=[Bar("ours", 0.5, True)],
        facts={"fp32": losses[0], "int8": losses[1]},
    )
    return [Row("int8 weights, default model: time a face over that of fp32", "x", quotients(taken[1], taken[0], "seconds")), change]


def speculation(bench: Bench) -> list[Row]:
    """Corners guessed from earlier faces and checked in one go, over the same held-out meshes without guesses."""
    plain, drafted = bench.turns(3, *(ours("speculate", drafted=drafted) for drafted in (False, True)))
    return [
        Row("speculative decoding, default model: time a face over plain decoding", "x", quotients(drafted, plain, "seconds")),
        Row("speculative decoding: corners guessed right", "%", column(drafted[:1], "right", 100)),
    ]


def length(bench: Bench) -> list[Row]:
    """How the cost of a face grows with the faces before it. Faces are timed around the number given, after a prompt."""

    def costs(rounds: int, asks: Callable[[int], Ask]) -> list[float]:
        near, far = bench.turns(rounds, asks(50), asks(800))
        return [median(late["faces"]) / median(early["faces"]) for early, late in zip(near, far, strict=True)]

    def their_ask(streams: int) -> Callable[[int], Ask]:
        return lambda faces: theirs("generate", prompt=faces - 3, faces=7)[streams]

    row = Row(
        "cost of a face at 800 faces over its cost at 50",
        "x",
        costs(3, lambda faces: ours("generate", model="default, long", prompt=faces - 15, faces=31)),
        costs(1, their_ask(0)),
        costs(1, their_ask(1)),
        bars=[Bar("ours", 1.3, at_most=True)],
    )
    return [row]


def guidance(bench: Bench) -> list[Row]:
    """Both branches in one batch, over the text alone."""

    def costs(off: list[Figures], on: list[Figures]) -> list[float]:
        return [median(guided["faces"]) / median(plain["faces"]) for plain, guided in zip(off, on, strict=True)]

    off, on = (ours("generate", model="default", faces=100, guidance=scale) for scale in (1.0, 2.0))
    their_off, their_on = (theirs("generate", faces=20, guidance=scale) for scale in (1.0, 2.0))
    mine = costs(*bench.turns(3, off, on))
    shipped, single = (costs(*bench.turns(2, *pair)) for pair in zip(their_off, their_on, strict=True))
    row = Row("guidance on over off", "x", mine, shipped, single, bars=[Bar("ours", 1.4, at_most=True)])
    return [row]


def variants(bench: Bench) -> list[Row]:
    """The time that many samples at once take over the time of one."""
    rows = []
    for count in (4, 8):
        one, many = bench.turns(3, *(ours("generate", model="default", faces=100, batch=batch) for batch in (1, count)))
        their_one, their_many = bench.turns(1, *(theirs("generate", faces=20, batch=batch)[0] for batch in (1, count)))
        mine, shipped = (
            [median(later["faces"]) / median(sooner["faces"]) for sooner, later in zip(*pair, strict=True)]
            for pair in ((one, many), (their_one, their_many))
        )
        bars = [Bar("ours", 3, at_most=True)] if count == 8 else []
        rows.append(Row(f"{count} variants at once over 1", "x", mine, shipped, bars=bars))
    return rows


def prompt(bench: Bench) -> list[Row]:
    """What passes before the first new code of a mesh of 200 faces that is to be completed."""
    faces = 200
    mine, passes = bench.turns(5, ours("prefill", model="default", faces=faces), ours("forward", model="default", faces=faces))
    same, shipped, single = bench.turns(3, ours("prefill", model="512/12", faces=faces), *theirs("generate", prompt=faces, faces=1))
    _, shipped_pass, single_pass = bench.turns(3, ours("about"), *theirs("forward", faces=faces))
    whole = bench.turns(3, ours("complete", faces=faces))[0]
    return [
        Row(
            f"a prompt of {faces} faces before the first new code, over one forward pass (ours: the default model)",
            "x",
            quotients(mine, passes, "seconds"),
            [first["prefill"] / each["seconds"] for first, each in zip(shipped, shipped_pass, strict=True)],
            [first["prefill"] / each["seconds"] for first, each in zip(single, single_pass, strict=True)],
            bars=[Bar("ours", 1, at_most=True)],
        ),
        Row(
            f"the same, 512/12, {faces} faces",
            "ms",
            column(same, "seconds", MS),
            column(shipped, "prefill", MS),
            column(single, "prefill", MS),
        ),
        Row(f"default model, from the request to complete {faces} faces to the first new face", "ms", column(whole, "seconds", MS)),
    ]


def in_the_worker(bench: Bench) -> list[Row]:
    """A real worker process; for theirs, which has none, a Python process that imports it and makes the default model."""
    seen = [worker.measure(PROMPT, requests=6) for _ in range(3)]
    shipped, single = bench.turns(5, *theirs("generate", faces=1))
    starts = []
    for _ in range(2):
        begin = time.perf_counter()
        made = bench.take(theirs("ready", alone=True)[0])
        starts.append({"seconds": time.perf_counter() - begin, **made})
    return [
        Row(
            "first face after the request, warm worker",
            "ms",
            [median(run["first_face"][1:]) * MS for run in seen],
            column(shipped, "first_face", MS),
            column(single, "first_face", MS),
            bars=[Bar("ours", 150, at_most=True)],
            facts={"each": [run["first_face"] for run in seen]},
        ),
        Row("first face after the first request of a worker", "ms", [run["first_face"][0] * MS for run in seen]),
        Row(
            "worker from start to ready, files cached",
            "s",
            column(seen, "ready"),
            column(starts, "seconds"),
            bars=[Bar("ours", 3, at_most=True)],
        ),
        Row("worker's memory, ready", "MB", column(seen, "resident_ready", 1 / MB), column(starts, "resident", 1 / MB)),
        Row(
            "worker's memory, after generations",
            "MB",
            column(seen, "resident", 1 / MB),
            bars=[Bar("ours", 700, at_most=True)],
        ),
    ]


def training(bench: Bench) -> list[Row]:
    """Forward and backward, 512/12, in fp32 and under bf16 autocast; memory is what the steps need on top of the model."""
    rows = []
    for batch, bf16 in ((1, False), (2, False), (1, True)):
        size = {"faces": 768, "batch": batch, "steps": 2, "bf16": bf16}
        as_it_ships, one_stream = theirs("train", alone=True, **size)
        asks = [
            ours("train", alone=True, model="512/12", **size),
            one_stream,
            *([as_it_ships] if batch == 1 else []),
        ]  # that needs 9 GB for two
        runs = [taken[0] for taken in bench.turns(1, *asks)]
        for what, unit, figures in (
            ("time", "s", [run["seconds"] for run in runs]),
            ("memory", "MB", [[(run["peak"] - run["before"]) / MB] for run in runs]),
        ):
            mine, single, shipped = [*figures, []][:3]
            name = f"training step, 512/12, {batch} x 768 faces{', bf16' if bf16 else ''}: {what}"
            rows.append(Row(name, unit, mine, shipped, single, bars=[Bar("ratio", 2)]))
    return rows


def tokenizing(bench: Bench) -> list[Row]:
    """The same boxes of 800 triangles, to codes and back."""
    learned, plain, other = bench.turns(
        7,
        ours("tokenise", kind="autoencoder", faces=800),
        ours("tokenise", kind="discretizer", faces=800),
        Ask("theirs", "tokenise", {"faces": 800}),
    )
    return [
        Row(f"{what} 800 faces{kind}", "ms", column(mine, step, MS), column(other, step, MS), bars=bars)
        for step, what in (("encode", "tokenise"), ("decode", "detokenise"))
        for kind, mine, bars in ((", default autoencoder", learned, [Bar("ratio", 3)]), (", discretizer", plain, []))
    ]


def long_meshes(bench: Bench) -> list[Row]:
    """4,000 faces in one mesh: what taking them in and going on from them needs, over the same of 400. A tenth is allowed for noise."""
    rows = []
    for window, name, bars in ((None, "", ([], [])), (512, ", window of 512", ([Bar("ours", 2, True)], [Bar("ours", 11, True)]))):
        size = {"model": "default, long", "faces": 31, "window": window}
        few, many = bench.turns(2, *(ours("generate", alone=True, prompt=faces - 15, **size) for faces in (400, 4000)))
        costs = [median(late["faces"]) / median(early["faces"]) for early, late in zip(few, many, strict=True)]
        small, large = ([(run["peak"] - run["before"]) / MB for run in runs] for runs in (few, many))
        memory = [late / early for early, late in zip(small, large, strict=True)]
        facts = {"megabytes_400": small, "megabytes_4000": large}
        rows += [
            Row(f"cost of a face at 4,000 faces over its cost at 400{name}", "x", costs, bars=bars[0]),
            Row(f"memory of 4,000 faces over that of 400{name}", "x", memory, bars=bars[1], facts=facts),
        ]
    return rows


def neighbours(bench: Bench) -> list[Row]:
    """Which faces of a triangulated grid share an edge, on one thread."""
    from benchmarks import adjacency  # brings torch into this process, where nothing else needs it

    rows = []
    for measured in adjacency.measure(PYTHON["theirs"]):
        mine, other = measured["ours"], measured["theirs"]
        note = "" if other else f" (theirs needs more than {adjacency.GIGABYTES} GiB)"
        times = [[figures["seconds"] * MS] if figures else [] for figures in (mine, other)]
        rows.append(Row(f"neighbours of {measured['faces']:,} faces{note}", "ms", times[0], times[1], facts=measured))
    return rows


def column(figures: list[Figures], name: str, scale: float = 1.0) -> list[float]:
    return [one[name] * scale for one in figures]


def quotients(above: list[Figures], below: list[Figures], name: str) -> list[float]:
    return [a[name] / b[name] for a, b in zip(above, below, strict=True)]


ROWS: dict[str, Callable[[Bench], list[Row]]] = {
    "default": default_model,
    "same-size": same_size,
    "precision": precision,
    "speculation": speculation,
    "length": length,
    "guidance": guidance,
    "variants": variants,
    "prompt": prompt,
    "worker": in_the_worker,
    "training": training,
    "tokenise": tokenizing,
    "long": long_meshes,
    "adjacency": neighbours,
}
