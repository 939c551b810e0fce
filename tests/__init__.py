"""The tests, as a package: eventkit installs one named `tests` as well, and this one must be the one that is found."""
