"""Walk-forward backtests: folds, and forecasts of each fold's network on its test sessions."""
