"""The arrows of the data flow, one file each, run on a worker with no catalog in reach."""
