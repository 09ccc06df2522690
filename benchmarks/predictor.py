"""How well the predictor of ImageNet accuracy ranks networks that it was not fitted on.

    python benchmarks/predictor.py TABLE

TABLE is the file that `nas-search import accel-nasbench` writes. As in `nas-search fit-predictor`,
a tenth of the networks is held out five times, and a predictor is fitted to the others. Printed is
Kendall's τ with what was measured, over all and within bands of FLOPs, where a search really
chooses: the mean of the five splits and the least and largest of them, and beside it the τ of
FLOPs alone.
"""

from __future__ import annotations

import sys
from statistics import fmean

from nas.proxies.benchmark_table import read_table
from nas.proxies.predictor_fit import held_out
from nas.spaces.registry import load_space
from nas.statistics import kendall_tau

BANDS = ((0, 1e12), (240e6, 260e6), (305e6, 335e6))


def main() -> None:
    """Print a line a band."""
    splits = list(held_out(read_table(sys.argv[1]), load_space("efficientnet")))
    print(f"{'FLOPs':>12} {'networks':>9} {'predictor':>10} {'(of five splits)':>17} {'FLOPs':>7}")
    for low, high in BANDS:
        taus, alone, count = [], [], 0
        for split in splits:
            inside = (low <= split.flops) & (split.flops <= high)
            truth = split.accuracy[inside]
            taus.append(kendall_tau(split.predicted[inside], truth))
            alone.append(kendall_tau(split.flops[inside], truth))
            count += len(truth)
        band = "all" if low == 0 else f"{low / 1e6:.0f}M-{high / 1e6:.0f}M"
        spread = f"{min(taus):.3f} to {max(taus):.3f}"
        print(f"{band:>12} {count:>9} {fmean(taus):>10.3f} {spread:>17} {fmean(alone):>7.2f}")


if __name__ == "__main__":
    main()
