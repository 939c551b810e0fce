select file_name, sha256 from schema_migration;
