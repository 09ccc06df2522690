"""Ways of measuring accuracy that cost less than full training, a file each.

They implement ``nas.proxies.protocol.Proxy`` and know nothing of studies or search strategies.
"""
