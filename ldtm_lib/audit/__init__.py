"""Verification of the record by anybody: encodings, seals, proofs, publications, replay."""
