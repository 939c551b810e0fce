-- What a schema from before the first release is known by: its table of applied files, with the one table it always had.
create table schema_migration (
    file_name  text        primary key,
    sha256     text        not null,
    applied_at timestamptz not null default clock_timestamp()
);

create table evening_attempt (session date not null, ticker text not null, primary key (session, ticker));

insert into schema_migration (file_name, sha256) values
('0001_sessions.sql', 'c6da1003a34303ab8fd78dfc9404cec0aeb91d869ecfc20e28be4dec5bc9e762'),
('0002_prices.sql', '0d07d8a5c864dce802f2994f77148feb537880fe1e0a50b505a61bf1d7b9c959'),
('0003_features.sql', '776c6836f0f9be3917fa23740db3c467d6ed469fae462763340f0a213af73131'),
('0004_models.sql', '06b3798701ee3a2eec74f38b6c9e5baf124be5b2354e097adfe301f11f320616'),
('0005_ledger.sql', 'b9687f7186d9374a25ab13fb84c3e0ed832749f47b93cecfa8330f5ed9c59aeb'),
('0006_leaderboard.sql', '44668cda25fd5b65a057e499e315b1a97b9e56664acd42149d5a69004bbb3320'),
('0007_training_record.sql', '2a935eb4dd92c2eac652547d238ececb69255856de769e73381926a49eeed3fe'),
('0008_chain.sql', 'ee7a385f7f4848356b1f030840a223992c0e598acd23ebd45a9f7af0f9d9db8f'),
('0009_fills.sql', '800ebc5ca26dafa9ab120021806359d9572085001bceac8703d992f4a7b8f3a8'),
('0010_writer.sql', 'a0a26887610e41f24555124f407e44dcd088f92426c00538d845df1c9a4c391e'),
('0011_registry.sql', 'a534117927cf81d48c118b9cbba7fd08c88ed6c1e4ed3c70c8458d624d778aa2'),
('0012_shadow.sql', '28c05d133ccda37f5e03a57dbee15951eb49e4eb1aed2d8ab77d8ec6fe73bc54'),
('0013_writer.sql', 'cba8bd69e716a388cdab7af6defa6be320b46f3f2ae233634fd2f26476e0101a'),
('0014_operations.sql', '358efcbdb228980c216130b7283b86c9bde4db798eebf88784cf2df750b7d0e5'),
('0015_splits.sql', 'fe7a2292eb5cad24f8efd26ea8b3165604a25d082687703cc4e133dadcbdae98'),
('0016_record_beginning.sql', '06a83176d1c27a275254da8b54ec9c72d53294c8d402f91ce0c2bbdf03babb95'),
('0017_troubles_seen_again.sql', '6142364fa8721eca2a27fd86cefb77485964c56d11a560a46d11e1075017f3e4');
