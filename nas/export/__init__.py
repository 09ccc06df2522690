"""Networks as others build them: one file a target, each proved to be the same network."""
