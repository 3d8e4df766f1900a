# RDS PostgreSQL in the database subnets.

locals {
  emulator = read_terragrunt_config("${get_terragrunt_dir()}/../../_emulator.hcl").locals
  env      = merge(read_terragrunt_config("${get_terragrunt_dir()}/../env.hcl").locals, local.emulator.overrides)
  mocks    = read_terragrunt_config("${get_terragrunt_dir()}/../../_mocks.hcl").locals
}

# Terragrunt refuses to destroy this unit, and leaves it out of `run --all destroy`.
prevent_destroy = local.env.prevent_destroy

dependency "network" {
  config_path = "${get_terragrunt_dir()}/../network"

  mock_outputs                            = local.mocks.network
  mock_outputs_allowed_terraform_commands = local.mocks.commands
  mock_outputs_merge_strategy_with_state  = "shallow"
}

inputs = {
  region            = local.env.region
  subnet_ids        = dependency.network.outputs.database_subnet_ids
  security_group_id = dependency.network.outputs.database_security_group_id
  port              = dependency.network.outputs.database_port

  instance_class        = local.env.instance_class
  storage               = local.env.storage
  multi_az              = local.env.multi_az
  deletion_protection   = local.env.deletion_protection
  final_snapshot        = local.env.final_snapshot
  backup_retention_days = local.env.database_backup_days
  production            = local.env.production

  logs = {
    kms_key_arn    = dependency.network.outputs.log_kms_key_arn
    retention_days = local.env.log_retention_days
  }
}
