select to_regclass('runs') is not null and to_regclass('event_logs') is not null;
