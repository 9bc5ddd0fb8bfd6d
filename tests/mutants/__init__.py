"""Each guard of a promise is taken away, one at a time, and a test has to notice."""
