# The root of every unit: where its state is, which account it may touch, which provider it takes.
# A unit includes this file and its own of live/_units; all that differs between environments is in live/<env>/env.hcl.

terraform_version_constraint  = ">= 1.10" # S3 state with a lock file
terragrunt_version_constraint = ">= 0.89.4"

locals {
  # Read as a unit of its own, as `terragrunt find` in the repository's root does, this file has no environment above it.
  env_file = find_in_parent_folders("env.hcl", "${get_parent_terragrunt_dir()}/live/dev/env.hcl")
  env      = read_terragrunt_config(local.env_file).locals
  emulator = read_terragrunt_config("${get_parent_terragrunt_dir()}/live/_emulator.hcl").locals

  # Exact, since there is no lock file: see docs/decisions/0101-no-provider-lock-files.md.
  provider_version = "5.46.0"
}

# This file is not a unit, though it has a unit's name. Terragrunt 1.x also reads .terragrunt-filters.
exclude {
  if      = path_relative_to_include() == "."
  actions = ["all"]
}

# One bucket an account. `--backend-bootstrap` makes it: versioned, encrypted, TLS only, public access blocked.
remote_state {
  backend = "s3"

  generate = {
    path      = "backend.tf"
    if_exists = "overwrite_terragrunt"
  }

  config = merge(
    {
      bucket       = local.env.state_bucket
      key          = "${path_relative_to_include()}/terraform.tfstate"
      region       = local.env.region
      encrypt      = true
      use_lockfile = true

      s3_bucket_tags = local.env.tags
    },
    # Buckets of an emulator, or of another S3 that an endpoint names, have no host names of their own.
    local.emulator.own_s3 ? { use_path_style = true } : {},
  )
}

generate "provider" {
  path      = "provider.tf"
  if_exists = "overwrite_terragrunt"
  contents  = <<-HCL
    provider "aws" {
      region              = "${local.env.region}"
      allowed_account_ids = ["${local.env.account_id}"]
    %{if local.emulator.own_s3~}

      s3_use_path_style       = true
      skip_metadata_api_check = true
    %{endif~}

      default_tags {
        tags = ${jsonencode(merge(local.env.tags, { unit = path_relative_to_include() }))}
      }
    }
  HCL
}

# An override file, since the modules say their own bounds and Terraform takes but one required_providers.
generate "versions" {
  path      = "versions_override.tf"
  if_exists = "overwrite_terragrunt"
  contents  = <<-HCL
    terraform {
      required_providers {
        aws = {
          source  = "hashicorp/aws"
          version = "${local.provider_version}"
        }
      }
    }
  HCL
}

terraform {
  # The modules of the working tree, or of a release. The folder's name is the module's.
  source = (
    local.env.modules_version == ""
    ? "${get_parent_terragrunt_dir()}/modules//${basename(get_terragrunt_dir())}"
    : "git::${local.env.modules_repository}//modules/${basename(get_terragrunt_dir())}?ref=${local.env.modules_version}"
  )

  # Two applies of one unit wait for each other.
  extra_arguments "lock" {
    commands  = get_terraform_commands_that_need_locking()
    arguments = ["-lock-timeout=5m"]
  }

  copy_terraform_lock_file = false
}

errors {
  # A connection cut off in the middle of an answer: nothing to wait for.
  retry "connection" {
    max_attempts       = 3
    sleep_interval_sec = 1

    retryable_errors = ["(?s).*(connection reset by peer|use of closed network connection|unexpected EOF).*"]
  }

  retry "transient" {
    max_attempts       = 3
    sleep_interval_sec = 10

    retryable_errors = concat(get_default_retryable_errors(), [
      "(?s).*(Throttling|TooManyRequests|RequestLimitExceeded|Rate exceeded|SlowDown).*",
      # A role or a key's policy that was made a moment ago is not yet known everywhere.
      "(?s).*(cannot be assumed by Lambda|does not have permissions to call|not authorized to perform: kms).*",
    ])
  }
}

inputs = {
  name       = local.env.name
  account_id = local.env.account_id
}
