"""The command line: one file per verb, nothing but options, a call, and how the answer is shown."""
