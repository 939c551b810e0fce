-- The schema that is on record and whether it is there: one that was renamed or dropped owns nothing.
select schema, to_regnamespace(quote_ident(schema)) is not null from ldtm_owner;
