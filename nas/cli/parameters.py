"""The options and arguments that several commands have."""

from __future__ import annotations

from copy import copy
from typing import Annotated, Any, get_args

import typer

from nas.cli import completion
from nas.cli.log import show_log
from nas.cli.panels import ACCURACY, BUDGET, MACHINE, NETWORK, OUTPUT, SEARCH, TRAINING

Budget_ = Annotated[
    str | None,
    typer.Option(
        "--budget",
        metavar="BUDGET",
        help="Hard limits on the network (required): terms such as 400M-flops or "
        "400M-flops+5.5M-params, a name that 'nas-search budgets' lists, or a TOML file.",
        autocompletion=completion.budgets,
        rich_help_panel=BUDGET,
    ),
]
Trials = Annotated[
    int | None,
    typer.Option(
        "--trials",
        metavar="N",
        help="Number of networks to evaluate in total, failed ones included.",
        show_default="300, or 30 with --proxy training",
        rich_help_panel=SEARCH,
    ),
]
Jobs = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        metavar="N",
        help="Number of evaluations to run in parallel.",
        show_default="one per core, at most 8; 1 on a GPU",
        rich_help_panel=MACHINE,
    ),
]
Device = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="auto|cpu|cuda|mps",
        help="Device to train or measure on; cuda:1 is the second GPU.",
        show_default="auto: a GPU where there is one; latency is measured on the cpu",
        autocompletion=completion.one_of("auto", "cpu", "cuda", "mps"),
        rich_help_panel=MACHINE,
    ),
]
Storage = Annotated[
    str | None,
    typer.Option(
        "--storage",
        metavar="URL",
        help="Database of the study, sqlite:///FILE or postgresql://…, which several drivers "
        "may share.",
        show_default="study.log in the folder",
        rich_help_panel=MACHINE,
    ),
]
RayAddress = Annotated[
    str | None,
    typer.Option(
        "--ray-address",
        metavar="HOST:PORT",
        help="Address of a running Ray cluster.",
        show_default="start one on this machine",
        rich_help_panel=MACHINE,
    ),
]
CpusPerTrial = Annotated[
    float | None,
    typer.Option(
        "--cpus-per-trial",
        metavar="X",
        help="CPU cores that Ray reserves for each evaluation.",
        show_default="1",
        rich_help_panel=MACHINE,
    ),
]
GpusPerTrial = Annotated[
    float | None,
    typer.Option(
        "--gpus-per-trial",
        metavar="X",
        help="GPUs that Ray reserves for each evaluation; a fraction such as 0.25 shares one.",
        show_default="1 with --device cuda, else 0",
        rich_help_panel=MACHINE,
    ),
]
LatencyTable_ = Annotated[
    str | None,
    typer.Option(
        "--latency-table",
        metavar="FILE",
        help="Latency table of another device, written by 'nas-search latency --out'.",
        show_default="measure this machine",
        rich_help_panel=BUDGET,
    ),
]
LatencyBackend = Annotated[
    str | None,
    typer.Option(
        "--latency-backend",
        metavar="NAME",
        help="Runtime that a limit on latency is measured in: pytorch or onnxruntime.",
        show_default="pytorch",
        autocompletion=completion.one_of("pytorch", "onnxruntime"),
        rich_help_panel=BUDGET,
    ),
]
LatencyBatch = Annotated[
    int | None,
    typer.Option(
        "--latency-batch",
        metavar="N",
        help="Batch size that a limit on latency is measured at.",
        show_default="1",
        rich_help_panel=BUDGET,
    ),
]
Seeds = Annotated[
    int,
    typer.Option(
        "--seeds",
        metavar="N",
        help="Number of trainings of each network, with a seed each.",
        rich_help_panel=ACCURACY,
    ),
]
Json = Annotated[
    bool,
    typer.Option(
        "--json",
        help="Print the result as one JSON document on standard output.",
        rich_help_panel=OUTPUT,
    ),
]
Quiet = Annotated[
    bool,
    typer.Option(
        "--quiet",
        "-q",
        help="Print neither progress nor the result; with --json, the document alone.",
        rich_help_panel=OUTPUT,
    ),
]
Verbose = Annotated[
    int,
    typer.Option(
        "--verbose",
        "-v",
        count=True,
        help="Show the log on standard error: what happens, or with -vv in detail.",
        show_default=False,
        callback=show_log,
        rich_help_panel=OUTPUT,
    ),
]
Folder = Annotated[
    str,
    typer.Argument(metavar="DIR", help="Folder of a run.", autocompletion=completion.folders),
]
Arch = Annotated[
    str,
    typer.Argument(
        metavar="ARCH",
        help="Network: an architecture file (JSON), or a name such as efficientnet-b0.",
        autocompletion=completion.architectures,
    ),
]


def as_before(declared: Any) -> Any:
    """Return an option of a command for its continuation, where the default is the run's own."""
    option = copy(get_args(declared)[1])
    option.show_default = "as the run began"
    return option


def data_option(panel: str = ACCURACY) -> Any:
    """Return the option ``--data``: images of the user's."""
    return typer.Option(
        "--data",
        metavar="PATH|NAME",
        help="Images: a folder with a subfolder per class, Parquet files, or the name of a data "
        "set on the Hugging Face Hub.",
        show_default="built-in fractals",
        rich_help_panel=panel,
    )


def fit_option(panel: str = ACCURACY) -> Any:
    """Return the option ``--fit``: how images become squares."""
    return typer.Option(
        "--fit",
        metavar="HOW",
        help="How an image that is not square becomes one: crop (its centre), pad (all of it on "
        "black), or squeeze (all of it, distorted).",
        autocompletion=completion.one_of("crop", "pad", "squeeze"),
        rich_help_panel=panel,
    )


def augment_option(panel: str = ACCURACY) -> Any:
    """Return the option ``--augment``: how training images are varied."""
    return typer.Option(
        "--augment",
        metavar="NAMES",
        help="Augmentation of training images: none, or some of flip, shift, crop, color and "
        "randaugment, separated by commas. Leave out flip where mirroring changes the class.",
        show_default="flip,shift; shift for the built-in fractals",
        rich_help_panel=panel,
    )


def max_pixels_option(panel: str = ACCURACY) -> Any:
    """Return the option ``--max-pixels``: which images are too large to be read."""
    return typer.Option(
        "--max-pixels",
        metavar="N",
        help="Number of pixels above which an image is refused.",
        show_default="89,478,485",
        rich_help_panel=panel,
    )


def groups_option(panel: str = ACCURACY) -> Any:
    """Return the option ``--groups``: which images belong together."""
    return typer.Option(
        "--groups",
        metavar="COLUMN",
        help="Keep images together, such as those of one patient, where validation and test images "
        "are held out: a column of the data, or folder: their folders within those of the classes.",
        show_default="each image by itself",
        rich_help_panel=panel,
    )


def no_test_option(panel: str = ACCURACY) -> Any:
    """Return the option ``--no-test``: no test images are held out."""
    return typer.Option(
        "--no-test",
        help="Where the data have no test images, hold none out of the training images.",
        rich_help_panel=panel,
    )


def seed_option(
    panel: str, help: str = "Seed of all random choices.", show_default: str | bool = True
) -> Any:
    """Return the option ``--seed``."""
    return typer.Option(
        "--seed", metavar="N", help=help, show_default=show_default, rich_help_panel=panel
    )


def weights_option(help: str, show_default: str, panel: str) -> Any:
    """Return the option ``--weights``: trained weights to begin with."""
    return typer.Option(
        "--weights", metavar="WEIGHTS", help=help, show_default=show_default, rich_help_panel=panel
    )


def weights_arch_option(panel: str) -> Any:
    """Return the option ``--weights-arch``: the network that weights are of."""
    return typer.Option(
        "--weights-arch",
        metavar="ARCH",
        help="Network of the weights.",
        show_default="as the file says, or as its tensors are",
        autocompletion=completion.architectures,
        rich_help_panel=panel,
    )


def space_option(
    panel: str,
    help: str = "Search space: a name that 'nas-search spaces' lists, or a TOML file.",
    show_default: bool | str = True,
) -> Any:
    """Return the option ``--space``."""
    return typer.Option(
        "--space",
        metavar="NAME|FILE",
        help=help,
        show_default=show_default,
        autocompletion=completion.spaces,
        rich_help_panel=panel,
    )


def time_option(help: str, show_default: str | bool = "no limit") -> Any:
    """Return the option ``--time``: how long a command may take."""
    return typer.Option(
        "--time",
        metavar="DURATION",
        help=f"{help} (for example 90s, 10m or 2h).",
        show_default=show_default,
        rich_help_panel=MACHINE,
    )


def engine_option(show_default: str | bool = True) -> Any:
    """Return the option ``--engine``: what runs the evaluations."""
    return typer.Option(
        "--engine",
        metavar="local|ray",
        help="Engine that runs the evaluations: processes on this machine, or a Ray cluster.",
        show_default=show_default,
        autocompletion=completion.one_of("local", "ray"),
        rich_help_panel=MACHINE,
    )


def out_option(metavar: str, help: str, show_default: str | bool = False) -> Any:
    """Return the option ``--out``: where a command writes."""
    return typer.Option(
        "--out", metavar=metavar, help=help, show_default=show_default, rich_help_panel=OUTPUT
    )


TrainWidth = Annotated[
    float | None,
    typer.Option(
        "--train-width",
        metavar="X",
        help="Factor of the widths at which networks are trained to be compared.",
        show_default="0.5; 1 with --weights",
        rich_help_panel=TRAINING,
    ),
]
TrainResolution = Annotated[
    int | None,
    typer.Option(
        "--train-resolution",
        metavar="PX",
        help="Pixels at which a network of the space's resolution is trained to be compared.",
        show_default="32; 96 with --weights",
        rich_help_panel=TRAINING,
    ),
]
TrainImages = Annotated[
    int | None,
    typer.Option(
        "--train-images",
        metavar="N",
        help="Number of images that each training sees, repetitions included.",
        show_default="by the size of the data, or by --time",
        rich_help_panel=TRAINING,
    ),
]
SpaceOrAround = Annotated[
    str | None,
    space_option(
        NETWORK, show_default="efficientnet; with --weights, what can be cut out of their network"
    ),
]
CountedAt = Annotated[
    int | None,
    typer.Option(
        "--resolution",
        metavar="PX",
        help="Input resolution at which FLOPs are counted.",
        show_default="that of the space",
        rich_help_panel=NETWORK,
    ),
]
InheritedWeights = Annotated[
    str | None,
    weights_option(
        "Trained weights that all networks inherit: a file, timm:NAME or the like.",
        "random",
        ACCURACY,
    ),
]
WeightsArch = Annotated[str | None, weights_arch_option(ACCURACY)]
Data = Annotated[str | None, data_option()]
FitOption = Annotated[str, fit_option()]
Augment = Annotated[str | None, augment_option()]
MaxPixels = Annotated[int | None, max_pixels_option()]
NoTest = Annotated[bool, no_test_option()]
Groups = Annotated[str | None, groups_option()]
Time = Annotated[str | None, time_option("Time limit for the whole run")]
