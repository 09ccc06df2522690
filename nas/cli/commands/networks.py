"""Commands of networks: cost, scaling, comparison, training, evaluation, export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nas.cli import completion
from nas.cli.options import Training, duration
from nas.cli.panels import ACCURACY, NETWORK, OUTPUT, TRAINING
from nas.cli.parameters import (
    Arch,
    Data,
    Device,
    Jobs,
    Json,
    Quiet,
    Seeds,
    Verbose,
    data_option,
    out_option,
    seed_option,
    space_option,
    time_option,
)
from nas.errors import InputError


def cost(
    arch: Arch,
    resolution: Annotated[
        int | None,
        typer.Option(
            metavar="PX",
            help="Input resolution at which FLOPs are counted.",
            show_default="that of ARCH",
            rich_help_panel=NETWORK,
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Show what a network costs: FLOPs, parameters and activations."""
    from nas.cli.networks import show_cost

    show_cost(arch, resolution, json)


def scale(
    arch: Arch,
    preset: Annotated[
        str | None,
        typer.Option(
            metavar="official",
            help="Scale by the published table of EfficientNet-B0 … B7 instead of by coefficients.",
            autocompletion=completion.one_of("official"),
            rich_help_panel=NETWORK,
        ),
    ] = None,
    alpha: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            help="Depth coefficient α.",
            show_default="1.2",
            rich_help_panel=NETWORK,
        ),
    ] = None,
    beta: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            help="Width coefficient β.",
            show_default="1.1",
            rich_help_panel=NETWORK,
        ),
    ] = None,
    gamma: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            help="Resolution coefficient γ.",
            show_default="1.15",
            rich_help_panel=NETWORK,
        ),
    ] = None,
    phi: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            help="Exponent φ of the coefficients; a single network is scaled.",
            show_default="0 to 7, the family b0 … b7",
            rich_help_panel=NETWORK,
        ),
    ] = None,
    target_flops: Annotated[
        str | None,
        typer.Option(
            metavar="FLOPS",
            help="Scale to the largest network within so many FLOPs, such as 1.8G.",
            rich_help_panel=NETWORK,
        ),
    ] = None,
    compare: Annotated[
        bool,
        typer.Option(
            "--compare",
            help="Scale depth, width and resolution alone, and all together, to equal FLOPs.",
            rich_help_panel=NETWORK,
        ),
    ] = False,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="PATH|NAME",
            help="With --compare: train the scaled networks on these images, and compare them.",
            rich_help_panel=ACCURACY,
        ),
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="With --data: number of trainings of each network, with a seed each.",
            show_default="3",
            rich_help_panel=ACCURACY,
        ),
    ] = None,
    time: Annotated[str | None, time_option("With --data: time limit for all trainings")] = None,
    jobs: Jobs = None,
    device: Device = None,
    out: Annotated[
        str | None, out_option("DIR", "Folder to write the architectures or the comparison to.")
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> None:
    """Scale a network: by coefficients, by the published table, or to a number of FLOPs.

    nas-search scale efficientnet-b0 --alpha 1.2 --beta 1.1 --gamma 1.15 --phi 3
    """
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


def compare(
    arch: Annotated[
        list[str],
        typer.Argument(
            metavar="ARCH",
            help="Networks to compare, two or more: architecture files (JSON), or "
            "efficientnet-b0 … b7. The last one is the reference.",
            autocompletion=completion.architectures,
        ),
    ],
    data: Data = None,
    seeds: Seeds = 3,
    seed: Annotated[int, seed_option(ACCURACY)] = 0,
    time: Annotated[str | None, time_option("Time limit for all trainings")] = None,
    jobs: Jobs = None,
    device: Device = None,
    out: Annotated[
        str | None,
        out_option("DIR", "Folder to keep trainings, result and plot in; rerun to resume."),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> None:
    """Train networks under the same conditions, and test whether their accuracies differ.

    nas-search compare baseline.json efficientnet-b0 --data my-images/ --seeds 5
    """
    from nas.cli.comparison import show_comparison

    show_comparison(
        arch,
        Training(data, seeds, seed, duration(time), jobs, device or "cpu"),
        out=None if out is None else Path(out),
        json=json,
        quiet=quiet,
    )


def train(
    arch: Arch,
    resolution: Annotated[
        int | None,
        typer.Option(
            metavar="PX",
            help="Input resolution that the network is trained at and used at.",
            show_default="that of ARCH",
            rich_help_panel=NETWORK,
        ),
    ] = None,
    stem_stride: Annotated[
        int | None,
        typer.Option(
            metavar="1|2",
            help="Stride of the stem convolution.",
            show_default="that of ARCH, or 1 if its last feature map would be 1 × 1",
            rich_help_panel=NETWORK,
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Initial weights to fine-tune: of nas-search, timm or torchvision.",
            show_default="random",
            rich_help_panel=NETWORK,
        ),
    ] = None,
    data: Annotated[str | None, data_option(TRAINING)] = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Number of epochs to train.",
            show_default="20",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Number of images in a batch.",
            show_default="64",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            help="Peak learning rate.",
            show_default="scaled with the batch size",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option(
            metavar="ARCH",
            help="Teacher network for knowledge distillation; needs --teacher-weights.",
            autocompletion=completion.architectures,
            rich_help_panel=TRAINING,
        ),
    ] = None,
    teacher_weights: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Weights of the teacher network.", rich_help_panel=TRAINING
        ),
    ] = None,
    temperature: Annotated[
        float | None,
        typer.Option(
            metavar="T",
            help="Temperature that the teacher's logits are divided by.",
            show_default="2",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    seed: Annotated[int, seed_option(TRAINING)] = 0,
    eval_test: Annotated[
        bool,
        typer.Option(
            "--eval-test",
            help="Measure accuracy on the test images too, once, after the training.",
            rich_help_panel=ACCURACY,
        ),
    ] = False,
    time: Annotated[
        str | None, time_option("Time to train for, instead of --epochs", False)
    ] = None,
    device: Device = None,
    out: Annotated[
        str | None,
        out_option(
            "DIR", "Folder of the training; rerun the command to resume.", "results/ARCH-DATA"
        ),
    ] = None,
    tensorboard: Annotated[
        bool,
        typer.Option(
            "--tensorboard",
            help="Write TensorBoard event files during the training.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> None:
    """Train one network at full width and resolution, and write its weights.

    Rerun the command to resume an interrupted training. Example:

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


def evaluate(
    arch: Arch,
    proxy: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Proxy that measures accuracy: training, supernet, imagenet, zero-cost:NAME or "
            "table:FILE.",
            autocompletion=completion.proxies,
            rich_help_panel=ACCURACY,
        ),
    ] = "training",
    space: Annotated[
        str, space_option(ACCURACY, "Search space that a supernet, predictor or table is of.")
    ] = "efficientnet",
    data: Data = None,
    seed: Annotated[int, seed_option(ACCURACY, "Seed of the first training.")] = 0,
    seeds: Annotated[
        int,
        typer.Option(
            metavar="N", help="Number of trainings, with a seed each.", rich_help_panel=ACCURACY
        ),
    ] = 1,
    time: Annotated[str | None, time_option("Approximate time for all trainings")] = None,
    device: Device = None,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> None:
    """Measure the accuracy of a network by a proxy, with its standard error.

    nas-search evaluate efficientnet-b0 --data my-images/ --seeds 3
    """
    from nas.cli.networks import show_accuracy

    show_accuracy(
        arch,
        proxy,
        space,
        Training(data, seeds, seed, duration(time), device=device or "cpu"),
        json=json,
        quiet=quiet,
    )


def export(
    arch: Arch,
    to: Annotated[
        str,
        typer.Option(
            metavar="FORMAT",
            help="Export format: timm, torchvision, onnx, torch or json.",
            autocompletion=completion.one_of(*completion.TARGETS),
            rich_help_panel=OUTPUT,
        ),
    ],
    out: Annotated[str, out_option("DIR", "Folder to write the files to.")],
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Weights to export: of nas-search, timm or torchvision.",
            show_default="random",
            rich_help_panel=NETWORK,
        ),
    ] = None,
    seed: Annotated[int, seed_option(NETWORK, "Seed of random weights and test images.")] = 0,
    dynamic_resolution: Annotated[
        bool,
        typer.Option(
            "--dynamic-resolution",
            help="With --to onnx: accept images of any size.",
            rich_help_panel=NETWORK,
        ),
    ] = False,
    int8: Annotated[
        bool,
        typer.Option(
            "--int8",
            help="With --to onnx: write an 8-bit quantised model too, and measure its accuracy.",
            rich_help_panel=ACCURACY,
        ),
    ] = False,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="PATH|NAME",
            help="With --int8: images for calibration and evaluation.",
            show_default="built-in fractals",
            rich_help_panel=ACCURACY,
        ),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> None:
    """Export a network to another library or format, and check that it is equivalent.

    nas-search export architecture.json --weights weights.safetensors --to onnx --out exported
    """
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
