"""Real servers, started on loopback (or a socket of their own) for the tests that need them."""
