# Environment dev: all that it has of its own. live/prod/env.hcl has the same names.

locals {
  environment = "dev"
  name        = "geodrop-dev"
  region      = "eu-central-1"
  account_id  = get_env("GEODROP_DEV_ACCOUNT", "000000000000") # none is committed; nothing applies to this one

  state_bucket = "geodrop-state-${local.account_id}"
  tags         = { project = "geodrop", environment = "dev" }

  # Which modules: empty takes the working tree, a tag takes git::<modules_repository>//modules/<name>?ref=<tag>.
  modules_version    = get_env("GEODROP_DEV_MODULES", "")
  modules_repository = get_env("GEODROP_MODULES_REPOSITORY", "file://${get_terragrunt_dir()}/../..") # this clone

  # Data may go, and one zone may fail.
  production          = false
  deletion_protection = false
  final_snapshot      = false
  force_destroy       = true
  prevent_destroy     = false

  cidr         = "10.20.0.0/16"
  zones        = ["eu-central-1a", "eu-central-1b"]
  nat_per_zone = false

  multi_az              = false
  instance_class        = "db.t4g.micro"
  storage               = { allocated_gib = 20, maximum_gib = 50 }
  database_backup_days  = 1
  log_retention_days    = 14
  lifecycle_days        = { infrequent_access = 30, noncurrent = 7 }
  daily_backup_days     = 7
  continuous_days       = 7
  backup_copy_vault_arn = ""
  subscribers           = compact(split(",", get_env("GEODROP_DEV_SUBSCRIBERS", "")))

  # Without reservations: a new account has ten executions in all.
  ingest = { maximum_concurrency = 2, reserved_concurrency = -1 }
  api    = { reserved_concurrency = -1, throttle = { rate = 20, burst = 40 }, cors_origins = ["*"], authorizer = { type = "none" } }

  # db.t4g.micro has room for about 80 connections.
  thresholds = { database_connections = 60, api_p95_ms = 2000 }

  # Where a workflow must run to apply here: the branch that merges go to.
  github_repository = get_env("GEODROP_GITHUB_REPOSITORY", "")
  apply_from        = { branch = "main", environment = "" }
}
