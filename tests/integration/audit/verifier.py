"""The stand-alone verifier as a module."""

import importlib.util

from tests.repository import REPOSITORY

PROGRAM = REPOSITORY / "verify_proof.py"
_spec = importlib.util.spec_from_file_location("verify_proof", PROGRAM)
assert _spec is not None
assert _spec.loader is not None
verifier = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(verifier)
