# What the files of live/_units share: the environment with the emulator's overrides, sources, mocks.

locals {
  root     = dirname(find_in_parent_folders("./terragrunt.hcl"))
  emulator = read_terragrunt_config("${local.root}/live/_emulator.hcl").locals
  env      = merge(read_terragrunt_config(find_in_parent_folders("env.hcl")).locals, local.emulator.overrides)
  unit     = basename(get_original_terragrunt_dir())

  # The modules of the working tree, or of a release.
  source = (
    local.env.modules_version == ""
    ? "${local.root}/modules//${local.unit}"
    : "git::${local.env.modules_repository}//modules/${local.unit}?ref=${local.env.modules_version}"
  )

  # Known before monitoring makes it.
  alarm_topic_arn = "arn:aws:sns:${local.env.region}:${local.env.account_id}:${local.env.name}-alarms"
}
