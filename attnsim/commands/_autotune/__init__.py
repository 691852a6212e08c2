"""Commands of `attnsim autotune`, one file each, imported when they are asked for."""
