select to_regclass('ldtm_owner') is not null;
