"""What tests of your own proxies and samplers need: contract suites, toy proxies, small spaces.

A contract suite is a class whose tests every proxy, or every sampler, must pass. Inherit from it
in a test module, and pytest runs them::

    from nas.testing import SamplerContract

    class TestMySampler(SamplerContract):
        def make(self):
            return MySampler()

Nothing here imports pytest, and nothing else in the library imports this package.
"""

from nas.testing.proxy_contract import ProxyContract
from nas.testing.sampler_contract import SamplerContract
from nas.testing.spaces import small_spaces
from nas.testing.toy_history import additive_score, toy_history
from nas.testing.toy_proxy import ToyProxy, hashed, killing, raising

__all__ = [
    "ProxyContract",
    "SamplerContract",
    "ToyProxy",
    "additive_score",
    "hashed",
    "killing",
    "raising",
    "small_spaces",
    "toy_history",
]
