# VPC over two zones or three, its subnets, NAT, endpoints, security groups and flow logs.

locals {
  common = read_terragrunt_config("${dirname(find_in_parent_folders("./terragrunt.hcl"))}/live/_common.hcl").locals
  env    = local.common.env
}

terraform {
  source = local.common.source
}

inputs = {
  region             = local.env.region
  cidr               = local.env.cidr
  zones              = local.env.zones
  nat_per_zone       = local.env.nat_per_zone
  production         = local.env.production
  database_port      = local.common.emulator.database_port
  log_retention_days = local.env.log_retention_days
}
