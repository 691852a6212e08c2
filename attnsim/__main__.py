"""`python -m attnsim` is the command `attnsim`."""

from .cli import main

main()
