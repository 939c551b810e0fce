"""Verification of the record by strangers: encodings, seals, proofs, publications, replay."""
