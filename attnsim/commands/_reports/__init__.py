"""Sub-commands of `attnsim report`, one file each, with a click command called `command`."""
