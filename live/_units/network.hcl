# VPC over two zones or three, its subnets, NAT, endpoints, security groups and flow logs.

locals {
  emulator = read_terragrunt_config("${get_terragrunt_dir()}/../../_emulator.hcl").locals
  env      = merge(read_terragrunt_config("${get_terragrunt_dir()}/../env.hcl").locals, local.emulator.overrides)
}

inputs = {
  region             = local.env.region
  cidr               = local.env.cidr
  zones              = local.env.zones
  nat_per_zone       = local.env.nat_per_zone
  production         = local.env.production
  database_port      = local.emulator.database_port
  log_retention_days = local.env.log_retention_days
}
