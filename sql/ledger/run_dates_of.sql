select count(*), min(run_date), max(run_date)
from snapshot
where ticker = %(ticker)s;
