update trouble
set told_in     = case when ended_at is null then alert_id else told_in end,
    told_at     = case when ended_at is null then clock_timestamp() else told_at end,
    end_told_in = case when ended_at is null then null else alert_id end,
    end_told_at = case when ended_at is null then null else clock_timestamp() end
from unnest(%(trouble_ids)s::bigint[], %(alert_ids)s::bigint[]) as told (id, alert_id)
where trouble_id = id;
