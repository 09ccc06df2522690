"""Weights in files, and the published networks' names: what is read computes what it did before."""

import json
import random
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

import nas
from nas.errors import InputError
from nas.export.random_network import random_images, random_network, randomise
from nas.networks.architecture import Architecture, Norm
from nas.networks.modules import build
from nas.networks.optional_packages import package
from nas.networks.pretrained_names import rename
from nas.networks.weights import load_weights
from nas.networks.weights_file import IMAGENET, TrainedOn, read_weights, save_weights
from nas.spaces.registry import load_architecture
from tests.support.same_function import SAME, doubled, relative_difference

TINY = 48


def tiny(seed: int = 0, **changes: Any) -> Architecture:
    space = replace(nas.load_space("tiny"), resolution=TINY)
    return replace(space.decode(space.sample(random.Random(seed))), **changes)


def timm_b(index: int, **arguments: Any) -> torch.nn.Module:
    return package("timm").create_model(f"efficientnet_b{index}", **arguments)


def torchvision_b(index: int, **arguments: Any) -> torch.nn.Module:
    return getattr(package("torchvision.models"), f"efficientnet_b{index}")(**arguments)


# ── Published networks ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "index", [*range(6), *(pytest.param(i, marks=pytest.mark.soak) for i in (6, 7))]
)
@pytest.mark.parametrize("make", [timm_b, torchvision_b])
def test_a_published_checkpoint_gives_the_same(
    make: Callable[..., torch.nn.Module], index: int, tmp_path: Path
) -> None:
    """Read into ours, and written with their names again."""
    torch.manual_seed(index)
    theirs = make(index)
    pixels = 32
    images = random_images((16, 3, pixels, pixels), index)
    randomise(theirs, images)
    file, again = tmp_path / "theirs.safetensors", tmp_path / "again.safetensors"
    save_file(theirs.state_dict(), file)

    architecture = load_architecture(f"efficientnet-b{index}")
    if make is timm_b:  # its B5 … B7 have batch norm's defaults
        architecture = replace(architecture, norm=Norm())
    ours = load_weights(file, architecture).eval()
    with torch.inference_mode():
        logits = theirs(images[:2])
    assert (logits[0] - logits[1]).abs().max() > 0.01  # or equal logits would say nothing
    assert relative_difference(doubled(theirs), doubled(ours), images[:2]) < SAME

    layout = read_weights(file).layout
    save_weights(ours, architecture, again, layout)
    with safe_open(again, "pt") as written:
        assert set(written.keys()) == set(theirs.state_dict())
        assert all(
            torch.equal(written.get_tensor(name), value)
            for name, value in theirs.state_dict().items()
        )


def test_batch_norms_constants_are_the_architectures_to_know() -> None:
    """No state dict has them: torchvision's B5 with timm's constants is another network."""
    architecture = load_architecture("efficientnet-b5")
    for make, norm in ((torchvision_b, architecture.norm), (timm_b, Norm())):
        theirs = make(5, num_classes=2)
        norms = {m.eps for m in theirs.modules() if isinstance(m, torch.nn.BatchNorm2d)}
        assert norms == {norm.eps}
    assert architecture.norm != Norm()


# ── Our own files ────────────────────────────────────────────────────────────────────────────────


def same(network: torch.nn.Module, other: torch.nn.Module) -> bool:
    """Whether two networks have equal tensors, and equal logits by one and the same computation."""
    tensors, others = network.state_dict(), other.state_dict()
    images = torch.randn(2, 3, TINY, TINY)
    with torch.inference_mode():
        logits = [one.eval()(images) for one in (network, other)]
    return (
        tensors.keys() == others.keys()
        and all(torch.equal(value, others[name]) for name, value in tensors.items())
        and torch.equal(*logits)
    )


@pytest.mark.parametrize("name", ["tiny", "mnasnet", "proxyless", "efficientnetv2"])
def test_a_file_is_enough_to_build_the_network(name: str, tmp_path: Path) -> None:
    space = replace(nas.load_space(name), resolution=TINY, num_classes=5)
    architecture = space.decode(space.sample(random.Random(1)))
    network = random_network(architecture, 0)
    nas.save_weights(network, architecture, tmp_path / "w.safetensors")
    assert same(nas.load_weights(tmp_path / "w.safetensors"), network)
    assert read_weights(tmp_path / "w.safetensors").architecture == architecture


def test_a_file_in_others_names_says_the_architecture_too(tmp_path: Path) -> None:
    architecture = replace(load_architecture("efficientnet-b0"), resolution=TINY, num_classes=3)
    network = random_network(architecture, 0)
    for layout in ("timm", "torchvision"):
        file = tmp_path / f"{layout}.safetensors"
        save_weights(network, architecture, file, layout)
        assert read_weights(file).layout == layout
        assert same(load_weights(file), network)


def test_a_state_dict_of_pytorch(tmp_path: Path) -> None:
    architecture = tiny()
    network = random_network(architecture, 0)
    old = {n: v for n, v in network.state_dict().items() if not n.endswith("num_batches_tracked")}
    torch.save(old, tmp_path / "w.pth")
    assert same(load_weights(tmp_path / "w.pth", architecture), network)
    with pytest.raises(InputError, match="names no architecture"):
        load_weights(tmp_path / "w.pth")


def assert_read_aligned(file: Path, architecture: Architecture) -> None:
    assert any(value.data_ptr() % 64 for value in read_weights(file).tensors.values())
    for transfer, classes in ((False, architecture.num_classes), (True, 2)):
        wanted = replace(architecture, num_classes=classes)
        read = load_weights(file, wanted, transfer=transfer).state_dict()
        assert [name for name, value in read.items() if value.data_ptr() % 64] == []


@pytest.mark.parametrize("length", range(0, 64, 8))
def test_weights_are_aligned_whatever_their_offset_in_the_file(length: int, tmp_path: Path) -> None:
    """The tensors follow a header, whose length depends on the metadata."""
    architecture = tiny(num_classes=5)
    tensors, file = random_network(architecture, 0).state_dict(), tmp_path / "w.safetensors"
    save_file(tensors, file, {"note": "-" * length})
    assert_read_aligned(file, architecture)


def test_weights_are_aligned_where_a_state_dict_has_parts_of_one_tensor(tmp_path: Path) -> None:
    architecture = tiny(num_classes=5)
    tensors, file = random_network(architecture, 0).state_dict(), tmp_path / "w.pt"
    whole = torch.cat([torch.zeros(1), *(value.float().flatten() for value in tensors.values())])
    parts = whole[1:].split([value.numel() for value in tensors.values()])
    shaped = zip(tensors.items(), parts, strict=True)
    torch.save({name: part.view(value.shape) for (name, value), part in shaped}, file)
    assert_read_aligned(file, architecture)


def test_half_precision_is_read(tmp_path: Path) -> None:
    architecture = tiny()
    network = random_network(architecture, 0)
    half = {n: v.half() if v.is_floating_point() else v for n, v in network.state_dict().items()}
    save_file(half, tmp_path / "w.safetensors")
    read = load_weights(tmp_path / "w.safetensors", architecture)
    assert {p.dtype for p in read.parameters()} == {torch.float32}


class Harmful:
    def __reduce__(self) -> Any:
        return (open, ("harmed", "w"))


def test_a_file_that_would_run_code_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"stem.0.weight": Harmful()}, "w.pt")
    with pytest.raises(
        InputError, match=r"w\.pt: not a file that PyTorch reads as weights only.*open"
    ) as error:
        read_weights(Path("w.pt"))
    assert "\n" not in str(error.value)
    assert not Path("harmed").exists()


def without(name: str) -> Callable[[dict[str, torch.Tensor]], None]:
    return lambda tensors: tensors.__delitem__(name)


def with_(name: str, value: torch.Tensor) -> Callable[[dict[str, torch.Tensor]], None]:
    return lambda tensors: tensors.__setitem__(name, value)


@pytest.mark.parametrize(
    ("layout", "change", "said"),
    [
        ("timm", without("bn1.bias"), "bn1.bias is missing"),
        ("timm", with_("bn1.bais", torch.zeros(1)), "bn1.bais is unknown"),
        (
            "torchvision",
            with_("classifier.1.weight", torch.zeros(7, 1280)),
            "classifier.1.weight is [7, 1280] and not [3, 1280]",
        ),
        ("nas-search", with_("stem.1.bias", torch.zeros(32).int()), "stem.1.bias is int32"),
        ("timm", lambda tensors: tensors.clear(), "not the weights of a known network"),
    ],
)
def test_wrong_tensors_are_named(
    layout: Any, change: Callable[[Any], None], said: str, tmp_path: Path
) -> None:
    architecture = replace(load_architecture("efficientnet-b0"), num_classes=3)
    tensors = rename(build(architecture).state_dict(), architecture, layout)
    change(tensors)
    save_file(tensors, tmp_path / "w.safetensors")
    with pytest.raises(InputError) as error:
        load_weights(tmp_path / "w.safetensors", architecture)
    assert said in str(error.value)
    assert "w.safetensors" in str(error.value)
    assert "\n" not in str(error.value)


def test_many_wrong_tensors_make_a_short_message(tmp_path: Path) -> None:
    save_file(build(tiny(0)).state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(
        InputError, match=r"and \d+ more \(read by the names of nas-search\)$"
    ) as error:
        load_weights(tmp_path / "w.safetensors", load_architecture("efficientnet-b0"))
    assert len(str(error.value)) < 500


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("w.safetensors", None, "no such file"),
        ("w.onnx", b"", "weights are accepted as"),
        ("w.safetensors", b"text", "not safetensors"),
        ("w.pth", b"text", "not a file that PyTorch reads"),
    ],
)
def test_what_is_no_file_of_weights_is_refused(
    name: str, content: bytes | None, said: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=said):
        read_weights(tmp_path / name)


def test_a_state_dict_is_tensors_by_name(tmp_path: Path) -> None:
    for wrong in ([1], {"stem.0.weight": 1}, {1: torch.zeros(1)}):
        torch.save(wrong, tmp_path / "w.pt")
        with pytest.raises(InputError, match="not a state dict"):
            read_weights(tmp_path / "w.pt")


def test_another_networks_weights_are_refused(tmp_path: Path) -> None:
    """Also where all tensors fit: what they would compute is something else."""
    architecture = tiny()
    save_weights(build(architecture), architecture, tmp_path / "w.safetensors")
    other = replace(architecture, activation="relu6", norm=Norm(eps=1e-3))
    with pytest.raises(InputError, match="activation, norm"):
        load_weights(tmp_path / "w.safetensors", other)
    larger = replace(
        architecture,
        name="larger",
        resolution=64,
        head=replace(architecture.head, dropout=0.5),
    )
    load_weights(tmp_path / "w.safetensors", larger)  # neither changes what the weights are
    with pytest.raises(InputError, match="not of this architecture"):
        save_weights(build(architecture), replace(architecture, num_classes=3), tmp_path / "v")


def test_metadata_that_is_no_architecture_is_refused(tmp_path: Path) -> None:
    architecture = tiny()
    data = {**architecture.to_dict(), "resolution": "large"}
    file = tmp_path / "w.safetensors"
    save_file(build(architecture).state_dict(), file, {"architecture": json.dumps(data)})
    with pytest.raises(InputError, match=r"w\.safetensors: .*resolution"):
        load_weights(file)


def test_what_weights_were_trained_on_is_kept_and_checked(tmp_path: Path) -> None:
    architecture = tiny(num_classes=2)
    file = tmp_path / "w.safetensors"
    known = TrainedOn((0.1, 0.2, 0.3), (0.4, 0.5, 0.6), TINY, ("a", "ß"))
    save_weights(build(architecture), architecture, file, trained_on=known)
    read = read_weights(file)
    assert read.trained_on == known
    header = file.read_bytes()
    assert (
        header.index(b'"architecture"') < header.index(b'"format"') < header.index(b'"trained_on"')
    )
    assert read.normalisation(3) == (known.mean, known.std)
    save_weights(build(architecture), architecture, file)
    assert read_weights(file).normalisation(3) is None
    tensors = build(architecture).state_dict()
    text = json.dumps(architecture.to_dict())
    for wrong, said in (
        ({"mean": [0.5]}, "mean: 1 values and not 3"),
        ({"classes": ["a"]}, "classes: 1 values and not 2"),
        ({"std": [1.0, 0.0, 1.0]}, "std: 0.0 is not accepted"),
        ({"more": 1}, "more: unknown key"),
    ):
        trained_on = json.dumps({**asdict(known), **wrong})
        save_file(tensors, file, {"architecture": text, "trained_on": trained_on})
        with pytest.raises(InputError, match=r"w\.safetensors: trained_on") as error:
            read_weights(file)
        assert said in str(error.value)


def test_published_weights_are_normalised_as_imagenet(tmp_path: Path) -> None:
    architecture = replace(load_architecture("efficientnet-b0"), num_classes=2)
    for layout, normalisation in (("timm", IMAGENET), ("torchvision", IMAGENET)):
        file = tmp_path / f"{layout}.safetensors"
        save_file(rename(build(architecture).state_dict(), architecture, layout), file)
        assert read_weights(file).normalisation(3) == normalisation
        assert read_weights(file).normalisation(1) is None  # grey images


# ── Transfer ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_other_classes_and_channels(channels: int, tmp_path: Path) -> None:
    architecture = tiny(num_classes=5)
    network = random_network(architecture, 0)
    file = tmp_path / "w.safetensors"
    save_weights(network, architecture, file)
    mine = replace(architecture, num_classes=2, in_channels=channels)
    with pytest.raises(InputError, match="num_classes"):
        load_weights(file, mine)
    got = load_weights(file, mine, transfer=True).eval()
    grey = torch.randn(2, 1, TINY, TINY)
    before, after = doubled(network), doubled(got)
    difference = relative_difference(
        lambda images: before.blocks(before.stem(images.expand(-1, 3, -1, -1))),
        lambda images: after.blocks(after.stem(images.expand(-1, channels, -1, -1))),
        grey,
    )
    assert difference < 1e-4  # the first convolution was adapted in float32
    assert got.head[4].weight.shape == (2, architecture.head.width)
    assert torch.equal(got.head[0][0].weight, network.head[0][0].weight)
    bias = got.head[4].bias
    assert bias is not None
    assert not bias.any()  # freshly initialised


def test_transfer_keeps_a_classifier_that_fits(tmp_path: Path) -> None:
    architecture = tiny(num_classes=5)
    network = random_network(architecture, 0)
    save_weights(network, architecture, tmp_path / "w.safetensors")
    got = load_weights(tmp_path / "w.safetensors", architecture, transfer=True)
    assert same(got, network)


def test_transfer_refuses_another_body(tmp_path: Path) -> None:
    architecture = tiny()
    save_weights(build(architecture), architecture, tmp_path / "w.safetensors")
    other = replace(architecture, stem=replace(architecture.stem, width=40))
    with pytest.raises(InputError, match="stem"):
        load_weights(tmp_path / "w.safetensors", other, transfer=True)
    # Its stride may be another, which no tensor depends on: for smaller images.
    stride = 3 - architecture.stem.stride
    other = replace(architecture, stem=replace(architecture.stem, stride=stride))
    load_weights(tmp_path / "w.safetensors", other, transfer=True)
    with pytest.raises(InputError, match="stem"):
        load_weights(tmp_path / "w.safetensors", other)
