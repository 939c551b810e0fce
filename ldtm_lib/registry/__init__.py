"""The model registry: trained networks, the gate's verdicts on them, and each ticker's active model."""
