"""Running jobs: what takes a message, what works on it, and the children that it starts. Importing does nothing."""
