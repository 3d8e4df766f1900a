# Landing bucket, queue with dead-letter queue, and the function that loads files.

locals {
  root     = dirname(find_in_parent_folders("./terragrunt.hcl"))
  emulator = read_terragrunt_config("${get_terragrunt_dir()}/../../_emulator.hcl").locals
  env      = merge(read_terragrunt_config("${get_terragrunt_dir()}/../env.hcl").locals, local.emulator.overrides)
  mocks    = read_terragrunt_config("${get_terragrunt_dir()}/../../_mocks.hcl").locals

  # A release's module comes with the functions of that release.
  functions = local.env.modules_version == "" ? "${local.root}/functions" : "../../functions"
}

terraform {
  before_hook "package" {
    commands = ["validate", "plan", "apply", "destroy"]
    execute  = ["python3", "${local.root}/tools/package.py", "${local.functions}/ingest"]
  }
}

# Terragrunt refuses to destroy this unit, and leaves it out of `run --all destroy`.
prevent_destroy = local.env.prevent_destroy

dependency "network" {
  config_path = "${get_terragrunt_dir()}/../network"

  mock_outputs                            = local.mocks.network
  mock_outputs_allowed_terraform_commands = local.mocks.commands
  mock_outputs_merge_strategy_with_state  = "shallow"
}

dependency "database" {
  config_path = "${get_terragrunt_dir()}/../database"

  mock_outputs                            = local.mocks.database
  mock_outputs_allowed_terraform_commands = local.mocks.commands
  mock_outputs_merge_strategy_with_state  = "shallow"
}

# Nothing of the schema is needed but that it is there.
dependencies {
  paths = ["${get_terragrunt_dir()}/../schema"]
}

inputs = {
  environment_name = local.env.environment
  region           = local.env.region
  package          = "package.zip"
  definition       = "${local.functions}/ingest/function.json"

  maximum_concurrency  = local.env.ingest.maximum_concurrency
  reserved_concurrency = local.env.ingest.reserved_concurrency
  lifecycle_days       = local.env.lifecycle_days
  request_metrics      = local.emulator.request_metrics
  force_destroy        = local.env.force_destroy
  production           = local.env.production

  network = {
    subnet_ids        = dependency.network.outputs.private_subnet_ids
    security_group_id = dependency.network.outputs.function_security_group_id
  }

  database = {
    host        = dependency.database.outputs.host
    port        = dependency.database.outputs.port
    name        = dependency.database.outputs.name
    resource_id = dependency.database.outputs.resource_id
    sslmode     = local.emulator.sslmode
  }

  logs = {
    kms_key_arn    = dependency.network.outputs.log_kms_key_arn
    retention_days = local.env.log_retention_days
  }

  tracing         = local.emulator.tracing
  alarm_topic_arn = "arn:aws:sns:${local.env.region}:${local.env.account_id}:${local.env.name}-alarms" # monitoring makes it later
}
