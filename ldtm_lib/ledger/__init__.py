"""The forecast ledger: forecasts and abstentions, actuals, the leaderboard, and monitoring of active models."""
