"""Ways of measuring accuracy: the protocol, and one module each."""
