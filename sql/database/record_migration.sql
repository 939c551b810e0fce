insert into schema_migration (file_name, sha256) values (%(name)s, %(sha256)s);
