-- The server notices within a minute that the holder's machine is gone, and never ends the session for being idle.
select set_config('application_name', 'ldtm gpu lease', false),
       set_config('tcp_keepalives_idle', '30', false),
       set_config('tcp_keepalives_interval', '10', false),
       set_config('tcp_keepalives_count', '3', false),
       set_config('idle_session_timeout', '0', false),
       set_config('idle_in_transaction_session_timeout', '0', false),
       set_config('statement_timeout', '0', false),
       set_config('lock_timeout', '0', false);
