"""The commands, one file each: their options, what they call, and what they print."""
