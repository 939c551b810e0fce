"""How a stranger checks the record: encodings, seals, proofs, publications, replay."""
