-- The tables of geodrop. Words: docs/words.md. All sums are exact: values are scaled integers, places are
-- integers of 1e-7 degrees, so that an aggregate does not depend on the order in which objects came.

-- The schema is named: a user called geodrop, such as the master user of RDS, would have it made in its own.
create extension if not exists postgis with schema public;
create schema if not exists geodrop;
revoke all on schema geodrop from public;

-- A contract that objects were loaded under. revision rises with every change of its aggregates.
create table geodrop.dataset (
  dataset_id smallint generated always as identity primary key,
  name text not null unique,
  fingerprint text not null,
  revision bigint not null default 0
);

-- One row per object (an S3 key): what became of its newest version.
create table geodrop.ledger (
  object_id bigint generated always as identity primary key,
  dataset_id smallint references geodrop.dataset,
  bucket text not null,
  key text not null,
  version text,
  sequencer text not null default '',
  etag text,
  bytes bigint,
  modified timestamptz,
  state text not null check (state in ('loaded', 'deleted', 'failed', 'deferred')),
  reason text,
  rows bigint not null default 0,
  accepted bigint not null default 0,
  rejected bigint not null default 0,
  seconds double precision,
  finished timestamptz not null default now(),
  unique (bucket, key),
  check (accepted + rejected = rows),
  check (state = 'loaded' or rows = 0)
);
create index ledger_newest on geodrop.ledger (dataset_id, object_id desc);

-- Rows that failed their contract: the first of each object in full ...
create table geodrop.reject (
  object_id bigint not null references geodrop.ledger on delete cascade,
  line bigint not null,
  field text not null,
  rule text not null,
  reason text not null,
  raw text not null
);
create index reject_object on geodrop.reject (object_id, line);

-- ... and all of them counted by field and rule.
create table geodrop.reject_count (
  object_id bigint not null references geodrop.ledger on delete cascade,
  field text not null,
  rule text not null,
  count bigint not null,
  primary key (object_id, field, rule)
);

-- Mode append: what one object adds to one cell of the finest level, bucket and category.
create table geodrop.partial (
  dataset_id smallint not null,
  x integer not null,
  y integer not null,
  bucket timestamptz not null,
  category text collate "C" not null,
  object_id bigint not null references geodrop.ledger,
  count bigint not null,
  value_count bigint not null,
  value_sum numeric not null,
  value_squares numeric not null,
  value_min bigint,
  value_max bigint,
  lon_sum numeric not null,
  lat_sum numeric not null,
  first_time timestamptz not null,
  last_time timestamptz not null,
  primary key (dataset_id, x, y, bucket, category, object_id)
);
create index partial_object on geodrop.partial (object_id);

-- Mode latest: every object's newest row of each id; current marks the one that counts.
create table geodrop.observation (
  object_id bigint not null references geodrop.ledger,
  id text collate "C" not null,
  dataset_id smallint not null,
  current boolean not null,
  updated timestamptz not null,
  modified timestamptz not null,
  origin bigint not null,
  x integer not null,
  y integer not null,
  bucket timestamptz not null,
  category text collate "C" not null,
  value bigint,
  lon bigint not null,
  lat bigint not null,
  time timestamptz not null,
  primary key (object_id, id)
);
create index observation_id on geodrop.observation (dataset_id, id);
create index observation_cell on geodrop.observation (dataset_id, x, y, bucket, category) where current;

-- The sum of all that counts, at every level of the dataset: per bucket, and with bucket -infinity over all time.
create table geodrop.aggregate (
  dataset_id smallint not null,
  level smallint not null,
  x integer not null,
  y integer not null,
  bucket timestamptz not null,
  category text collate "C" not null,
  count bigint not null,
  value_count bigint not null,
  value_sum numeric not null,
  value_squares numeric not null,
  value_min bigint,
  value_max bigint,
  lon_sum numeric not null,
  lat_sum numeric not null,
  first_time timestamptz not null,
  last_time timestamptz not null,
  primary key (dataset_id, level, x, y, bucket, category)
) with (fillfactor = 80);

-- The outline of every cell that has ever held something, for spatial queries (GiST).
create table geodrop.cell (
  level smallint not null,
  x integer not null,
  y integer not null,
  outline geometry(polygon, 4326) not null,
  primary key (level, x, y)
);
create index cell_outline on geodrop.cell using gist (outline);
create index cell_centre on geodrop.cell using gist ((st_centroid(outline)::geography));
