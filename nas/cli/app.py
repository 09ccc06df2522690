"""The commands, and the main job's options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nas.cli import completion
from nas.cli.options import Training, duration
from nas.draw import SAMPLES
from nas.errors import InputError

app = typer.Typer(
    add_completion=True,
    pretty_exceptions_enable=False,
    no_args_is_help=False,
    help="From a compute budget to a whole family of image classifiers.",
    context_settings={"help_option_names": ["-h", "--help"]},
)


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
    typer.Option("--resolution", metavar="PX", help="Count FLOPs at this resolution."),
]
Time = Annotated[
    str | None, typer.Option("--time", metavar="10m", help="For the whole run: 90s, 10m, 2h.")
]
Trials = Annotated[
    int | None,
    typer.Option(
        "--trials", metavar="N", help="In all. Default 30, or 300 where nothing is trained."
    ),
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


@app.callback(invoke_without_command=True)
def main_job(
    context: typer.Context,
    budget: Budget_ = None,
    space: Space = "efficientnet",
    data: Data = None,
    resolution: Resolution = None,
    proxy: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Measures accuracy: supernet, training, imagenet, table:FILE (see proxies). "
            "Default: imagenet where there is no --data and it knows the space, else supernet.",
            autocompletion=completion.proxies,
        ),
    ] = None,
    grid_proxy: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Measures it for the coefficients.",
            autocompletion=completion.one_of("training"),
        ),
    ] = "training",
    objective: Annotated[
        str,
        typer.Option(
            metavar="accuracy|reward", autocompletion=completion.one_of("accuracy", "reward")
        ),
    ] = "accuracy",
    sampler: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="guided, evolution, tpe, nsga2, random.",
            autocompletion=completion.samplers,
        ),
    ] = "guided",
    trials: Trials = None,
    time: Time = None,
    seed: Annotated[int, typer.Option(metavar="N")] = 0,
    jobs: Jobs = None,
    engine: Annotated[
        str,
        typer.Option(
            metavar="local|ray",
            help="Where evaluations run.",
            autocompletion=completion.one_of("local", "ray"),
        ),
    ] = "local",
    ray_address: RayAddress = None,
    cpus_per_trial: CpusPerTrial = None,
    gpus_per_trial: GpusPerTrial = None,
    storage: Storage = None,
    out: Annotated[
        str | None, typer.Option(metavar="DIR", help="Default: results/<space>-<budget>.")
    ] = None,
    device: Device = None,
    latency_table: LatencyTable_ = None,
    latency_backend: LatencyBackend = None,
    latency_batch: LatencyBatch = None,
    start: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ARCH",
            help="Evaluated first; may be repeated.",
            autocompletion=completion.architectures,
        ),
    ] = None,
    finalists: Annotated[
        int | None,
        typer.Option(metavar="K", help="Trained anew before one is chosen; 3 with --data."),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            metavar="ARCH",
            help="Beside them; default efficientnet-b0.",
            autocompletion=completion.architectures,
        ),
    ] = None,
    no_check: Annotated[
        bool, typer.Option("--no-check", help="Do not check the proxy by longer trainings.")
    ] = False,
    no_scale: Annotated[
        bool, typer.Option("--no-scale", help="Stop at the baseline: no family.")
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print it, and those that matter; also with --json.")
    ] = False,
) -> None:
    """Search within the budget, find the coefficients, write the family. The same command resumes.

    nas-search --budget 400M-flops --data my-images/
    """
    if version:
        _print_versions(json)
        raise typer.Exit
    if context.invoked_subcommand is not None:
        return
    if budget is None:
        raise InputError("--budget is needed, for example: nas-search --budget 400M-flops")
    command = {
        "budget": budget,
        "space": space,
        "data": data,
        "resolution": resolution,
        "proxy": proxy,
        "grid_proxy": grid_proxy,
        "objective": objective,
        "sampler": sampler,
        "trials": trials,
        "time": time,
        "seed": seed,
        "jobs": jobs,
        "engine": engine,
        "ray_address": ray_address,
        "cpus_per_trial": cpus_per_trial,
        "gpus_per_trial": gpus_per_trial,
        "storage": storage,
        "device": device,
        "latency_table": latency_table,
        "latency_backend": latency_backend,
        "latency_batch": latency_batch,
        "start": start or [],
        "scale": not no_scale,
        "finalists": finalists,
        "reference": reference,
        "check": not no_check,
    }
    from nas.cli.job import run_job

    run_job(command, None if out is None else Path(out), json=json, quiet=quiet)


def _print_versions(json: bool) -> None:
    from nas.files import to_json
    from nas.versions import versions

    found = versions()
    lines = "".join(f"{name} {number}\n" for name, number in found.items())
    typer.echo(to_json(found) if json else lines, nl=False)


@app.command()
def resume(
    folder: Folder,
    trials: Trials = None,
    time: Time = None,
    jobs: Jobs = None,
    device: Device = None,
    storage: Storage = None,
    engine: Annotated[
        str | None,
        typer.Option(
            metavar="local|ray",
            help="Where evaluations run.",
            autocompletion=completion.one_of("local", "ray"),
        ),
    ] = None,
    ray_address: RayAddress = None,
    cpus_per_trial: CpusPerTrial = None,
    gpus_per_trial: GpusPerTrial = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Go on with a run, by the command that began it; the options given here replace its own."""
    from nas.cli.job import resume_job

    changes = {
        "trials": trials,
        "time": time,
        "jobs": jobs,
        "device": device,
        "storage": storage,
        "engine": engine,
        "ray_address": ray_address,
        "cpus_per_trial": cpus_per_trial,
        "gpus_per_trial": gpus_per_trial,
    }
    resume_job(
        Path(folder), {k: v for k, v in changes.items() if v is not None}, json=json, quiet=quiet
    )


@app.command()
def status(
    folder: Folder,
    storage: Storage = None,
    json: Json = False,
) -> None:
    """Say how far a run is, also while it goes on: trials, best so far, time left, failures."""
    from nas.cli.status import show_status

    show_status(Path(folder), storage, json=json)


@app.command()
def report(
    folders: Annotated[
        list[str], typer.Argument(metavar="DIR [DIR …]", help="A run's, or several to compare.")
    ],
    out: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="The page alone. Default: in DIR; of several, report.html here."
        ),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make a run's report.html and pictures, finished or not, or a page that compares several."""
    from nas.cli.report import show_report

    show_report(
        [Path(folder) for folder in folders],
        None if out is None else Path(out),
        json=json,
        quiet=quiet,
    )


@app.command()
def events(
    folder: Folder,
    storage: Storage = None,
    top: Annotated[
        int, typer.Option(metavar="N", help="Trials, the best, with their choices.")
    ] = 50,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a run's or a training's numbers as TensorBoard reads them, into DIR/tensorboard."""
    from nas.cli.events import show_events

    show_events(Path(folder), storage, top, json=json, quiet=quiet)


@app.command()
def latency(
    space: Space = "efficientnet",
    resolution: Resolution = None,
    classes: Annotated[int | None, typer.Option(metavar="N", help="Default: the space's.")] = None,
    backend: Annotated[
        str | None,
        typer.Option(
            metavar="pytorch|onnxruntime",
            help="Default pytorch.",
            autocompletion=completion.one_of("pytorch", "onnxruntime"),
        ),
    ] = None,
    batch: Annotated[int | None, typer.Option(metavar="N", help="Default 1.")] = None,
    device: Device = None,
    again: Annotated[
        bool, typer.Option("--again", help="Measure anew what is remembered.")
    ] = False,
    out: Annotated[
        str | None, typer.Option(metavar="FILE", help="For --latency-table, on other machines.")
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure how long the blocks of a space take here, for budgets such as 20ms-latency."""
    from nas.cli.latency import show_latency

    show_latency(
        space,
        resolution=resolution,
        classes=classes,
        backend=backend,
        device=device,
        batch=batch,
        again=again,
        out=None if out is None else Path(out),
        json=json,
        quiet=quiet,
    )


@app.command()
def verify(
    folder: Annotated[
        str,
        typer.Argument(
            metavar="DIR",
            help="A run's, or others' of results.",
            autocompletion=completion.folders,
        ),
    ],
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Hold a folder of results against its hashes, and compute its numbers again: what differs."""
    from nas.cli.verify import show_verification

    show_verification(Path(folder), json=json, quiet=quiet)


def _listing(name: str, doc: str) -> None:
    def command(json: Json = False) -> None:
        from nas.cli import listings

        getattr(listings, name)(json)

    command.__doc__ = doc
    app.command(name)(command)


_listing("spaces", "List the search spaces, a line each.")
_listing("budgets", "List the budgets, a line each.")
_listing("proxies", "List the ways of measuring accuracy, a line each.")

Arch = Annotated[
    str,
    typer.Argument(
        metavar="ARCH",
        help="A JSON file or efficientnet-b0 … b7.",
        autocompletion=completion.architectures,
    ),
]


@app.command()
def cost(arch: Arch, resolution: Resolution = None, json: Json = False) -> None:
    """Say what a network costs: FLOPs, parameters, activations."""
    from nas.cli.networks import show_cost

    show_cost(arch, resolution, json)


@app.command()
def scale(
    arch: Arch,
    preset: Annotated[
        str | None,
        typer.Option(
            metavar="official",
            help="The published table B0 … B7.",
            autocompletion=completion.one_of("official"),
        ),
    ] = None,
    alpha: Annotated[float | None, typer.Option(help="Depth.")] = None,
    beta: Annotated[float | None, typer.Option(help="Width.")] = None,
    gamma: Annotated[float | None, typer.Option(help="Resolution.")] = None,
    phi: Annotated[float | None, typer.Option(help="How far; without it: b0 … b7.")] = None,
    target_flops: Annotated[
        str | None, typer.Option(metavar="1.8G", help="The largest network within.")
    ] = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="One dimension alone, and all, at equal FLOPs.")
    ] = False,
    out: Annotated[
        str | None, typer.Option(metavar="DIR", help="Write the architectures there.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(metavar="NAME|PATH", help="With --compare: train them on these images."),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(metavar="N", help="Trainings of each, with --data. Default 3.")
    ] = None,
    time: Time = None,
    jobs: Jobs = None,
    device: Device = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Scale a network: by coefficients, by the published table, or to a number of FLOPs."""
    from nas.cli.networks import show_scaled

    given = {"--seeds": seeds, "--time": time, "--jobs": jobs, "--device": device}
    for option, value in given.items():
        if data is None and value is not None:
            raise InputError(f"{option}: not accepted without --compare and --data")
    show_scaled(
        arch,
        preset=preset,
        triple=(alpha, beta, gamma),
        phi=phi,
        target_flops=target_flops,
        compare=compare,
        training=None
        if data is None
        else Training(
            data, 3 if seeds is None else seeds, 0, duration(time), jobs, device or "cpu"
        ),
        out=None if out is None else Path(out),
        json=json,
        quiet=quiet,
    )


@app.command()
def compare(
    arch: Annotated[
        list[str],
        typer.Argument(
            metavar="ARCH ARCH …",
            help="The last is the reference.",
            autocompletion=completion.architectures,
        ),
    ],
    data: Data = None,
    seeds: Seeds = 3,
    seed: Annotated[int, typer.Option(metavar="N", help="Of all draws.")] = 0,
    time: Time = None,
    jobs: Jobs = None,
    device: Device = None,
    out: Annotated[
        str | None, typer.Option(metavar="DIR", help="Keep the study, a document, a picture.")
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train networks alike over several seeds, and say which differences are real."""
    from nas.cli.comparison import show_comparison

    show_comparison(
        arch,
        Training(data, seeds, seed, duration(time), jobs, device or "cpu"),
        out=None if out is None else Path(out),
        json=json,
        quiet=quiet,
    )


@app.command()
def train(
    arch: Arch,
    data: Data = None,
    out: Annotated[
        str | None, typer.Option(metavar="DIR", help="Default: results/<architecture>-<data>.")
    ] = None,
    resolution: Annotated[
        int | None, typer.Option(metavar="PX", help="Train and classify at it; default ARCH's own.")
    ] = None,
    stem_stride: Annotated[
        int | None,
        typer.Option(metavar="1|2", help="Default: ARCH's own; 1 if the last map were one point."),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(metavar="N", help="How often each image is seen. Default 20.")
    ] = None,
    time: Annotated[
        str | None, typer.Option(metavar="60m", help="Instead: as many as end in that time.")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(metavar="N", help="Default 64.")] = None,
    learning_rate: Annotated[
        float | None, typer.Option(metavar="X", help="Highest; default by the batch size.")
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Begin with them: ours, timm's or torchvision's."),
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option(
            metavar="ARCH",
            help="A network whose answers are learned too.",
            autocompletion=completion.architectures,
        ),
    ] = None,
    teacher_weights: Annotated[
        str | None, typer.Option(metavar="FILE", help="The teacher's.")
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(metavar="T", help="Of the teacher's answers. Default 2.")
    ] = None,
    eval_test: Annotated[
        bool, typer.Option("--eval-test", help="Score on the test images, once, at the end.")
    ] = False,
    seed: Annotated[int, typer.Option(metavar="N")] = 0,
    device: Device = None,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write its event files as it goes.")
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train one network properly and write its weights. The same command resumes.

    nas-search train baseline.json --data my-images/ --time 60m
    """
    from nas.cli.train import train_network

    train_network(
        arch,
        data=data,
        out=None if out is None else Path(out),
        weights=weights,
        teacher=teacher,
        teacher_weights=teacher_weights,
        temperature=temperature,
        resolution=resolution,
        stem_stride=stem_stride,
        epochs=epochs,
        time=time,
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
        device=device or "cpu",
        test=eval_test,
        tensorboard=tensorboard,
        json=json,
        quiet=quiet,
    )


@app.command()
def evaluate(
    arch: Arch,
    proxy: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="training, imagenet, table:FILE.",
            autocompletion=completion.proxies,
        ),
    ] = "training",
    space: Space = "efficientnet",
    data: Data = None,
    seed: Annotated[int, typer.Option(metavar="N", help="The first seed.")] = 0,
    seeds: Annotated[int, typer.Option(metavar="N", help="How many.")] = 1,
    time: Annotated[
        str | None, typer.Option(metavar="10m", help="About how long, for all seeds.")
    ] = None,
    device: Device = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure the accuracy of any network by a proxy, with its error."""
    from nas.cli.networks import show_accuracy

    show_accuracy(
        arch,
        proxy,
        space,
        Training(data, seeds, seed, duration(time), device=device or "cpu"),
        json=json,
        quiet=quiet,
    )


@app.command()
def fidelity(
    table: Annotated[
        str, typer.Option(metavar="FILE", help="Networks whose accuracy is known: JSON Lines.")
    ],
    space: Space = "efficientnet",
    proxy: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="supernet, training, imagenet, table:FILE. Default: as in a search.",
            autocompletion=completion.proxies,
        ),
    ] = None,
    data: Data = None,
    samples: Annotated[
        int, typer.Option(metavar="N", help="Networks drawn of the table, and of each band.")
    ] = SAMPLES,
    band: Annotated[
        list[str] | None,
        typer.Option(metavar="LOW-HIGH", help="FLOPs, as 300M-330M; may be repeated."),
    ] = None,
    time: Annotated[
        str | None,
        typer.Option(metavar="10m", help="For the proxy's preparation and all evaluations."),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N")] = 0,
    jobs: Jobs = None,
    device: Device = None,
    out: Annotated[
        str | None, typer.Option(metavar="DIR", help="Keep it there; the same command goes on.")
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Say how far a proxy can be trusted: how well it ranks networks whose accuracy is known."""
    from nas.cli.fidelity import show_fidelity

    show_fidelity(
        Path(table),
        space,
        proxy,
        data,
        samples=samples,
        bands=band or [],
        seconds=duration(time),
        seed=seed,
        jobs=jobs,
        device=device or "cpu",
        out=None if out is None else Path(out),
        json=json,
        quiet=quiet,
    )


@app.command()
def table(
    flops: Annotated[str, typer.Option(metavar="LOW-HIGH", help="Of the networks, as 300M-330M.")],
    out: Annotated[
        str, typer.Option(metavar="DIR", help="Keep it there; the same command goes on.")
    ],
    space: Space = "efficientnet",
    data: Data = None,
    networks: Annotated[int, typer.Option(metavar="N", help="How many, drawn at random.")] = 24,
    seeds: Annotated[int, typer.Option(metavar="N", help="Trainings of each.")] = 2,
    images: Annotated[
        int | None, typer.Option(metavar="N", help="Shown in each training, repeats included.")
    ] = None,
    time: Annotated[
        str | None, typer.Option(metavar="10m", help="Nothing starts that would end later.")
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N")] = 0,
    jobs: Jobs = None,
    device: Device = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make a benchmark table: random networks, each trained alone; see fidelity --table."""
    from nas.cli.benchmark import make_table

    make_table(
        space,
        data,
        flops=flops,
        networks=networks,
        seeds=seeds,
        images=images,
        seconds=duration(time),
        seed=seed,
        jobs=jobs,
        device=device or "cpu",
        out=Path(out),
        json=json,
        quiet=quiet,
    )


@app.command()
def export(
    arch: Arch,
    to: Annotated[
        str,
        typer.Option(
            metavar="timm|torchvision|onnx|torch|json",
            help="For whom.",
            autocompletion=completion.one_of(*completion.TARGETS),
        ),
    ],
    out: Annotated[str, typer.Option(metavar="FOLDER", help="Where the files go.")],
    weights: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Of ours, timm's or torchvision's; without it: random."),
    ] = None,
    dynamic_resolution: Annotated[
        bool, typer.Option("--dynamic-resolution", help="With onnx: images of any size.")
    ] = False,
    int8: Annotated[
        bool, typer.Option("--int8", help="With onnx: in eight bits too, and what that costs.")
    ] = False,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|PATH", help="With --int8: images. Without it: built-in fractals."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Of random weights and images.")] = 0,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a network as others build it, proved to be the same: parameters, FLOPs, logits."""
    from nas.cli.export import show_export

    show_export(
        arch,
        to,
        Path(out),
        weights=None if weights is None else Path(weights),
        data=data,
        int8=int8,
        dynamic_resolution=dynamic_resolution,
        seed=seed,
        json=json,
        quiet=quiet,
    )


@app.command("import")
def import_(
    source: Annotated[
        str,
        typer.Argument(
            metavar="accel-nasbench",
            help="What it is.",
            autocompletion=completion.one_of("accel-nasbench"),
        ),
    ],
    archive: Annotated[str, typer.Argument(metavar="ARCHIVE", help="The file as released.")],
    out: Annotated[str, typer.Option(metavar="FILE.jsonl", help="The table.")],
    json: Json = False,
) -> None:
    """Make a benchmark table of what others have released; see --proxy table:FILE."""
    from nas.cli.tables import import_table

    import_table(source, Path(archive), Path(out), json)


@app.command("fit-predictor")
def fit_predictor(
    table: Annotated[str, typer.Argument(metavar="TABLE", help="A benchmark table.")],
    out: Annotated[str, typer.Option(metavar="DIR/NAME", help="Two files: .safetensors, .json.")],
    space: Space = "efficientnet",
    metric: Annotated[str, typer.Option(metavar="TEXT", help="What is predicted.")] = "accuracy",
    data: Annotated[str, typer.Option(metavar="TEXT", help="What it was measured on.")] = "",
    source: Annotated[str, typer.Option(metavar="TEXT", help="Who measured it; licence.")] = "",
    seed: Annotated[int, typer.Option(metavar="N")] = 0,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fit a predictor to a benchmark table, and say what it is worth on rows held out."""
    from nas.cli.tables import show_fit

    show_fit(
        Path(table),
        Path(out),
        space,
        metric=metric,
        data=data,
        source=source,
        seed=seed,
        json=json,
        quiet=quiet,
    )


@app.command()
def reproduce(
    target: Annotated[
        str,
        typer.Argument(
            metavar="b0",
            help="What is to be discovered.",
            autocompletion=completion.one_of("b0"),
        ),
    ],
    out: Annotated[
        str, typer.Option("--out", metavar="DIR", help="Where it is written.")
    ] = "results/b0-discovery",
    random: Annotated[
        int, typer.Option(metavar="N", help="Random networks that B0 is ranked among.")
    ] = 100_000,
    trials: Annotated[int, typer.Option(metavar="N", help="Of each search, at most.")] = 300,
    seeds: Annotated[int, typer.Option(metavar="N", help="Searches of each sampler.")] = 20,
    samplers: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,NAME",
            help="Compared; without it: all.",
            autocompletion=completion.samplers,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N")] = 0,
    jobs: Jobs = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Discover EfficientNet-B0 anew, on predicted ImageNet accuracy; says what that is worth."""
    from nas.cli.reproduce import run_reproduce

    numbers = {"random": random, "trials": trials, "seeds": seeds, "seed": seed}
    run_reproduce(target, Path(out), numbers, samplers, jobs, json=json, quiet=quiet)
