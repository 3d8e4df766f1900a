# Backups of the database and the landing bucket, in a locked vault.

locals {
  emulator = read_terragrunt_config("${get_terragrunt_dir()}/../../_emulator.hcl").locals
  env      = merge(read_terragrunt_config("${get_terragrunt_dir()}/../env.hcl").locals, local.emulator.overrides)
  mocks    = read_terragrunt_config("${get_terragrunt_dir()}/../../_mocks.hcl").locals
}

# Terragrunt refuses to destroy this unit, and leaves it out of `run --all destroy`.
prevent_destroy = local.env.prevent_destroy

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

inputs = {
  region        = local.env.region
  resource_arns = [dependency.database.outputs.arn, dependency.ingest.outputs.bucket_arn]

  daily                     = { retention_days = local.env.daily_backup_days }
  continuous_retention_days = local.env.continuous_days
  vault_lock                = { enabled = local.emulator.vault_lock }
  copy                      = { vault_arn = local.env.backup_copy_vault_arn }
  force_destroy             = local.env.force_destroy
  production                = local.env.production
}
