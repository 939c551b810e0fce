vacuum (analyze) event_logs, asset_event_tags, asset_check_executions, runs, run_tags;
