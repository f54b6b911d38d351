"""The container engine of this machine, by its API on a unix socket: Docker's, and Podman's that is like it.

What is called: ``_ping``, ``info``, ``images/…/json``, ``containers/…`` (``json``, ``create``, ``attach``, ``start``, ``wait``,
``kill``, ``stats``, delete). Nothing is pulled, built or listed that is not vproc's own. Who may ask the engine may do as root.
"""
