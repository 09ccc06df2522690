"""Commands of networks: what they cost, scaled, compared, trained, taken away."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nas.cli import completion
from nas.cli.options import Training, duration
from nas.cli.parameters import Arch, Data, Device, Jobs, Json, Quiet, Resolution, Seeds, Space, Time
from nas.errors import InputError


def cost(arch: Arch, resolution: Resolution = None, json: Json = False) -> None:
    """Say what a network costs: FLOPs, parameters, activations."""
    from nas.cli.networks import show_cost

    show_cost(arch, resolution, json)


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
