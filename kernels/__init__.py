"""Arrays in, arrays out: numba kernels over numpy. Knows no other room, never logs, never reads settings."""
