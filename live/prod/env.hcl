# Environment prod: all that it has of its own. live/dev/env.hcl has the same names.

locals {
  environment = "prod"
  name        = "geodrop-prod"
  region      = "eu-central-1"
  account_id  = get_env("GEODROP_PROD_ACCOUNT", "000000000000") # none is committed; nothing applies to this one

  state_bucket = "geodrop-state-${local.account_id}"
  tags         = { project = "geodrop", environment = "prod" }

  # Which modules: empty takes the working tree, a tag takes git::<modules_repository>//modules/<name>?ref=<tag>.
  # After the first release this is a tag, and raising it is how a change comes here.
  modules_version    = get_env("GEODROP_PROD_MODULES", "")
  modules_repository = get_env("GEODROP_MODULES_REPOSITORY", "file://${get_terragrunt_dir()}/../..") # this clone

  # Data must stay, and a zone may fail unnoticed. `production` makes the modules refuse anything less.
  production          = true
  deletion_protection = true
  final_snapshot      = true
  force_destroy       = false
  prevent_destroy     = true

  # Two zones, as the database has: a third would cost a NAT gateway and save nothing.
  cidr         = "10.30.0.0/16"
  zones        = ["eu-central-1a", "eu-central-1b"]
  nat_per_zone = true

  multi_az              = true
  instance_class        = "db.t4g.medium"
  storage               = { allocated_gib = 100, maximum_gib = 1000 }
  database_backup_days  = 14
  log_retention_days    = 365
  lifecycle_days        = { infrequent_access = 90, noncurrent = 90 }
  daily_backup_days     = 35
  continuous_days       = 14
  backup_copy_vault_arn = get_env("GEODROP_PROD_COPY_VAULT", "") # a vault in another region
  subscribers           = compact(split(",", get_env("GEODROP_PROD_SUBSCRIBERS", "")))

  # At most 8 + 50 connections of the database's 400. Needs a quota of 158 executions or more in the account.
  ingest = { maximum_concurrency = 8, reserved_concurrency = 8 }
  api    = { reserved_concurrency = 50, throttle = { rate = 200, burst = 400 }, cors_origins = [], authorizer = { type = "none" } }

  thresholds = { database_connections = 100, api_p95_ms = 1000 }

  # Where a workflow must run to apply here: a GitHub environment, whose reviewers say yes.
  github_repository = get_env("GEODROP_GITHUB_REPOSITORY", "")
  apply_from        = { branch = "", environment = "prod" }
}
