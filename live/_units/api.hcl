# HTTP API and the function that answers it.

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
    execute  = ["python3", "${local.root}/tools/package.py", "${local.functions}/api"]
  }
}

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
  definition       = "${local.functions}/api/function.json"
  openapi          = "${local.functions}/api/openapi.yaml"

  reserved_concurrency = local.env.api.reserved_concurrency
  throttle             = local.env.api.throttle
  cors_origins         = local.env.api.cors_origins
  authorizer           = local.env.api.authorizer

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
