"""Samplers, a file each: they propose which network to evaluate next.

They are given the space, the budget and the trials so far, and know nothing of proxies or studies.
"""

from nas.strategies.samplers.protocol import Sampler, SamplerCapabilities, sampler_capabilities
from nas.strategies.samplers.registry import DEFAULT, SAMPLERS, make_sampler

__all__ = [
    "DEFAULT",
    "SAMPLERS",
    "Sampler",
    "SamplerCapabilities",
    "make_sampler",
    "sampler_capabilities",
]
