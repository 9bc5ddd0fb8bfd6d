"""What happens: productions, the farm that runs them, and the files that they read and write."""
