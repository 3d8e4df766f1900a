# Landing bucket, queue with dead-letter queue, and the function that loads files.

locals {
  common = read_terragrunt_config("${dirname(find_in_parent_folders("./terragrunt.hcl"))}/live/_common.hcl").locals
  env    = local.common.env
  mocks  = read_terragrunt_config("${dirname(find_in_parent_folders("./terragrunt.hcl"))}/live/_mocks.hcl").locals
}

terraform {
  source = local.common.source

  # The same path on every machine, or each would plan a change.
  before_hook "package" {
    commands = ["validate", "plan", "apply", "destroy"]
    execute  = ["cp", "${local.common.root}/dist/ingest.zip", "package.zip"]
  }
}

# Terragrunt refuses to destroy this unit, and leaves it out of `run --all destroy`.
prevent_destroy = local.env.prevent_destroy

dependency "network" {
  config_path = "${get_original_terragrunt_dir()}/../network"

  mock_outputs                            = local.mocks.network
  mock_outputs_allowed_terraform_commands = local.mocks.commands
  mock_outputs_merge_strategy_with_state  = "shallow"
}

dependency "database" {
  config_path = "${get_original_terragrunt_dir()}/../database"

  mock_outputs                            = local.mocks.database
  mock_outputs_allowed_terraform_commands = local.mocks.commands
  mock_outputs_merge_strategy_with_state  = "shallow"
}

# Nothing of the schema is needed but that it is there.
dependencies {
  paths = ["${get_original_terragrunt_dir()}/../schema"]
}

inputs = {
  environment_name = local.env.environment
  region           = local.env.region
  package          = "package.zip"
  definition       = "${local.common.root}/functions/ingest/function.json"

  maximum_concurrency  = local.env.ingest.maximum_concurrency
  reserved_concurrency = local.env.ingest.reserved_concurrency
  lifecycle_days       = local.env.lifecycle_days
  request_metrics      = local.common.emulator.request_metrics
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
    sslmode     = local.common.emulator.sslmode
  }

  logs = {
    kms_key_arn    = dependency.network.outputs.log_kms_key_arn
    retention_days = local.env.log_retention_days
  }

  tracing         = local.common.emulator.tracing
  alarm_topic_arn = local.common.alarm_topic_arn
}
