copy bar (ticker, session, open, high, low, close, volume, source, recorded_at) from stdin (format csv)
