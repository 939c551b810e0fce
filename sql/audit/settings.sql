-- For this transaction alone: joins of a million events with their rows stay in memory, nothing is compiled for them.
select set_config('work_mem', %(work_mem)s, true), set_config('jit', 'off', true);
