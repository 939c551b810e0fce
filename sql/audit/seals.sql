select seal_id, evening, first_event, num_events, merkle_root, previous_sha256, sealed_at, sha256,
       coalesce(sealed.leaves, ''::bytea) as leaves
from ledger_seal
left join lateral (
    select string_agg(leaf, ''::bytea order by event_id) as leaves from ledger_event
    where event_id >= first_event and event_id < first_event + num_events
) sealed on true
where seal_id >= %(first)s
order by seal_id;
