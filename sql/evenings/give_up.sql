-- Said before they end, so that nobody takes what is given up for well again.
update trouble set summary = 'given up: ' || summary
where key = any (%(keys)s::text[]) and ended_at is null;
