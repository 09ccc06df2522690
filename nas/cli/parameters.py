"""The options and arguments that several commands have."""

from __future__ import annotations

from typing import Annotated

import typer

from nas.cli import completion

Budget_ = Annotated[
    str | None,
    typer.Option(
        "--budget",
        metavar="BUDGET",
        help="400M-flops, 400M-flops+5.5M-params, a file.",
        autocompletion=completion.budgets,
    ),
]
Space = Annotated[
    str,
    typer.Option(
        "--space", metavar="NAME|FILE", help="Search space.", autocompletion=completion.spaces
    ),
]
Data = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="NAME|FOLDER|PARQUET",
        help="Your images: folders of classes, parquet, a name on the Hugging Face hub. "
        "Without it: built-in fractals.",
    ),
]
Resolution = Annotated[
    int | None,
    typer.Option(
        "--resolution", metavar="PX", help="Count FLOPs at this resolution; default: the space's."
    ),
]
Time = Annotated[
    str | None, typer.Option("--time", metavar="10m", help="For the whole run: 90s, 10m, 2h.")
]
Trials = Annotated[
    int | None,
    typer.Option("--trials", metavar="N", help="In all. Default 300; with --proxy training 30."),
]
Jobs = Annotated[
    int | None, typer.Option("--jobs", metavar="N", help="At once. Default: one a core, at most 8.")
]
Device = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="cpu|cuda|mps",
        help="Default cpu.",
        autocompletion=completion.one_of("cpu", "cuda", "mps"),
    ),
]
Storage = Annotated[
    str | None,
    typer.Option(
        "--storage",
        metavar="URL",
        help="sqlite:///FILE or postgresql://…, for several drivers of one study; default: "
        "study.log in the folder.",
    ),
]
RayAddress = Annotated[
    str | None,
    typer.Option(
        "--ray-address", metavar="HOST:PORT", help="Of a Ray cluster; default: started here."
    ),
]
CpusPerTrial = Annotated[
    float | None, typer.Option("--cpus-per-trial", metavar="X", help="With ray. Default 1.")
]
GpusPerTrial = Annotated[
    float | None,
    typer.Option("--gpus-per-trial", metavar="X", help="With ray; 0.25, say. Default 1 on cuda."),
]
LatencyTable_ = Annotated[
    str | None,
    typer.Option(
        "--latency-table",
        metavar="FILE",
        help="With a limit on latency: of another device; default: measured here.",
    ),
]
LatencyBackend = Annotated[
    str | None,
    typer.Option(
        "--latency-backend",
        metavar="pytorch|onnxruntime",
        help="Default pytorch.",
        autocompletion=completion.one_of("pytorch", "onnxruntime"),
    ),
]
LatencyBatch = Annotated[
    int | None, typer.Option("--latency-batch", metavar="N", help="Images at once. Default 1.")
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]
Folder = Annotated[str, typer.Argument(metavar="DIR", autocompletion=completion.folders)]
Seeds = Annotated[int, typer.Option(metavar="N", help="Trainings of each.")]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Print nothing; with --json, the document alone.")
]
Arch = Annotated[
    str,
    typer.Argument(
        metavar="ARCH",
        help="A JSON file or efficientnet-b0 … b7.",
        autocompletion=completion.architectures,
    ),
]
