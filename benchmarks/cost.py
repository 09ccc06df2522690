"""The cost of an architecture: remembered blocks against fvcore on the whole network, in one run.

    python benchmarks/cost.py

Goals: at most 50 µs warm and 1,000 times faster than fvcore; at most 5 s for a first run that has
to measure every block of the `efficientnet` space, imports included.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import timeit
import warnings
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent

COLD = """
import sys
from pathlib import Path
from nas.networks.cost import head_cost, stage_cost, stem_cost
from nas.spaces.toml import read_space

space = read_space(Path(sys.argv[1]))
empty = space.architecture(())
stem_cost(empty, space.resolution)
widths = {space.stem.width}
for index in range(len(space.stages)):
    options = [(width, option) for width in widths for option in space.options(index, width)]
    for width, option in options:
        if option.stage is not None:
            stage_cost(option.stage, width, 1)
    widths = {option.width for _, option in options}
for width in widths:
    head_cost(empty, width, 1)
"""


def warm_seconds() -> float:
    """Return the time of one `measure_cost` of B0 whose blocks are known."""
    from nas.networks.architecture import efficientnet_b0
    from nas.networks.cost import measure_cost

    b0 = efficientnet_b0()
    measure_cost(b0)
    return median(timeit.repeat(lambda: measure_cost(b0), number=1000, repeat=7)) / 1000


def changing_seconds(count: int = 1000) -> float:
    """Return the time of one `measure_cost` of a network never seen, of known blocks."""
    import random

    from nas.networks.cost import measure_cost
    from nas.spaces.toml import read_space

    space = read_space(ROOT / "search_spaces/efficientnet.toml")
    rng = random.Random(0)
    for _ in range(300):
        measure_cost(space.decode(space.sample(rng)))
    networks = iter([space.decode(space.sample(rng)) for _ in range(count)])
    return timeit.timeit(lambda: measure_cost(next(networks)), number=count) / count


def fvcore_seconds() -> float:
    """Return the time of fvcore's count of the whole B0, built already, after a first one."""
    import torch
    from fvcore.nn import FlopCountAnalysis

    from nas.networks.architecture import efficientnet_b0
    from nas.networks.modules import build

    network, images = build(efficientnet_b0()).eval(), torch.zeros(1, 3, 224, 224)

    def count() -> None:
        flops = (
            FlopCountAnalysis(network, images)
            .unsupported_ops_warnings(False)
            .uncalled_modules_warnings(False)
            .by_operator()
        )
        assert flops["conv"] + flops["linear"] == 385_814_752

    count()
    return median(timeit.repeat(count, number=1, repeat=5))


def cold_seconds() -> float:
    """Return how long a new process with an empty cache takes for all blocks of a space."""
    with tempfile.TemporaryDirectory() as cache:
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, "-c", COLD, str(ROOT / "search_spaces/efficientnet.toml")],
            env={**os.environ, "NAS_SEARCH_CACHE": cache, "PYTHONPATH": str(ROOT)},
            check=True,
        )
        return time.perf_counter() - start


def main() -> None:
    """Print the four times and the ratio."""
    warnings.simplefilter("ignore")  # fvcore traces with torch.jit, which is deprecated
    sys.path.insert(0, str(ROOT))
    cold = cold_seconds()
    warm, changing, whole = warm_seconds(), changing_seconds(), fvcore_seconds()
    print(f"measure_cost, B0 again and again {warm * 1e6:12.1f} µs   (goal: 50)")
    print(f"measure_cost, new networks       {changing * 1e6:12.1f} µs   (goal: 50)")
    print(f"fvcore, the whole B0             {whole:12.3f} s")
    print(f"ratio                            {whole / warm:12,.0f}      (goal: 1,000)")
    print(f"ratio, new networks              {whole / changing:12,.0f}      (goal: 1,000)")
    print(f"first run, all of efficientnet   {cold:12.2f} s    (goal: 5)")


if __name__ == "__main__":
    main()
