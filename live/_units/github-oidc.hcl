# Roles that GitHub's workflows take, one pair an account. Somebody with rights on IAM applies this once: the apply role
# cannot change itself. Left out while GEODROP_GITHUB_REPOSITORY is not set: nobody is trusted by default.

locals {
  emulator = read_terragrunt_config("${get_terragrunt_dir()}/../../_emulator.hcl").locals
  env      = merge(read_terragrunt_config("${get_terragrunt_dir()}/../env.hcl").locals, local.emulator.overrides)
}

exclude {
  if      = local.env.github_repository == ""
  actions = ["all"]
}

inputs = {
  repository   = local.env.github_repository
  main_branch  = "main" # as the workflows have it
  apply_from   = local.env.apply_from
  state_bucket = local.env.state_bucket
}
