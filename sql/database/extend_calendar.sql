insert into trading_session (session, opens_at, closes_at)
select * from unnest(%(sessions)s::date[], %(opens)s::timestamptz[], %(closes)s::timestamptz[])
on conflict (session) do update set opens_at = excluded.opens_at, closes_at = excluded.closes_at
where trading_session.opens_at > clock_timestamp()
  and (trading_session.opens_at, trading_session.closes_at) is distinct from (excluded.opens_at, excluded.closes_at);
