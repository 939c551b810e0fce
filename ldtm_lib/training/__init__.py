"""Training as a stage: plan, run, record, report."""
