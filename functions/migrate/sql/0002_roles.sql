-- Least rights: one role writes what ingest writes, one only reads. On RDS they log in with IAM tokens.

do $$
declare
  role_name text;
begin
  foreach role_name in array array['geodrop_ingest', 'geodrop_api'] loop
    if not exists (select from pg_roles where rolname = role_name) then
      execute format('create role %I login', role_name);
    end if;
    if exists (select from pg_roles where rolname = 'rds_iam') then
      execute format('grant rds_iam to %I', role_name);
    end if;
    execute format('grant usage on schema geodrop to %I', role_name);
  end loop;
  execute format('revoke create on schema public from public');
  execute format('revoke temporary on database %I from public', current_database());
  execute format('grant temporary on database %I to geodrop_ingest', current_database());
end $$;

grant select, insert, update, delete
  on geodrop.dataset, geodrop.ledger, geodrop.reject, geodrop.reject_count, geodrop.partial,
     geodrop.observation, geodrop.aggregate, geodrop.cell
  to geodrop_ingest;

grant select
  on geodrop.dataset, geodrop.ledger, geodrop.reject, geodrop.reject_count, geodrop.aggregate, geodrop.cell,
     geodrop.migration
  to geodrop_api;

alter role geodrop_api set default_transaction_read_only = on;
alter role geodrop_api set statement_timeout = '20s';
alter role geodrop_api set timezone = 'UTC';
alter role geodrop_ingest set timezone = 'UTC';
