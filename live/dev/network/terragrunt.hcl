include "root" {
  path = find_in_parent_folders("./terragrunt.hcl")
}

include "unit" {
  path = "${dirname(find_in_parent_folders("env.hcl"))}/../_units/${basename(get_terragrunt_dir())}.hcl"
}
