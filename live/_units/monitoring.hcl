# Alarms, their topic and subscribers, and the dashboard.

locals {
  emulator = read_terragrunt_config("${get_terragrunt_dir()}/../../_emulator.hcl").locals
  env      = merge(read_terragrunt_config("${get_terragrunt_dir()}/../env.hcl").locals, local.emulator.overrides)
  mocks    = read_terragrunt_config("${get_terragrunt_dir()}/../../_mocks.hcl").locals
}

dependency "database" {
  config_path = "${get_terragrunt_dir()}/../database"

  mock_outputs                            = local.mocks.database
  mock_outputs_allowed_terraform_commands = local.mocks.commands
  mock_outputs_merge_strategy_with_state  = "shallow"
}

dependency "ingest" {
  config_path = "${get_terragrunt_dir()}/../ingest"

  mock_outputs                            = local.mocks.ingest
  mock_outputs_allowed_terraform_commands = local.mocks.commands
  mock_outputs_merge_strategy_with_state  = "shallow"
}

dependency "api" {
  config_path = "${get_terragrunt_dir()}/../api"

  mock_outputs                            = local.mocks.api
  mock_outputs_allowed_terraform_commands = local.mocks.commands
  mock_outputs_merge_strategy_with_state  = "shallow"
}

inputs = {
  environment_name = local.env.environment
  region           = local.env.region
  subscribers      = local.env.subscribers
  thresholds       = local.env.thresholds
  production       = local.env.production

  ingest = {
    function_name          = dependency.ingest.outputs.function_name
    queue_name             = dependency.ingest.outputs.queue_name
    dead_letter_queue_name = dependency.ingest.outputs.dead_letter_queue_name
    bucket_name            = dependency.ingest.outputs.bucket_name
    bucket_metrics_id      = dependency.ingest.outputs.bucket_metrics_id
  }

  api = {
    id            = dependency.api.outputs.id
    stage_name    = dependency.api.outputs.stage_name
    function_name = dependency.api.outputs.function_name
  }

  database = { identifier = dependency.database.outputs.identifier }

  # The vault has the environment's name: no need to wait for it, which would be the longest way of an apply.
  backup = { vault_name = local.env.name }
}
