"""One module per sub-command or group: its options, what it does, and what it prints.

Modules here import the library inside of functions: all of them are loaded for `ldtm --help`.
"""
