"""The command `ldtm`."""
