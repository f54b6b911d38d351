"""``python -m vproc``: the same as the command ``vproc``."""

from vproc.cli import main

if __name__ == "__main__":
    main()
