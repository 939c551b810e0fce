-- The identity of the record in this schema. A dump carries it along; the folder of an installation remembers it, so that
-- another database is never taken for this one.

create table installation (
    installation_id uuid    not null default gen_random_uuid(),
    only_one        boolean primary key default true check (only_one)
);
insert into installation default values;
grant select on installation to public;

comment on table installation is 'One row: the identity of the record, which the folder of its installation remembers.';

create function installation_stays() returns trigger language plpgsql as $$
begin
    raise exception 'the identity of a record is never changed';
end $$;

create trigger installation_is_never_changed before update or delete on installation
for each row execute function installation_stays();
alter table installation enable always trigger installation_is_never_changed;
create trigger installation_is_never_truncated before truncate on installation execute function installation_stays();
alter table installation enable always trigger installation_is_never_truncated;
