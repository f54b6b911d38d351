"""vproc: a self-hosted video pipeline in one process. Importing this package does nothing."""

__version__ = "0.1.0"
