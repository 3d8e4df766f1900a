# Outputs that stand in while a unit that others depend on is not applied yet: for validate, plan and destroy, never for
# apply. They look real, since the modules check what they are given. A test holds them to the modules' outputs.

locals {
  emulator = read_terragrunt_config("${dirname(find_in_parent_folders("./terragrunt.hcl"))}/live/_emulator.hcl").locals
  env      = read_terragrunt_config(find_in_parent_folders("env.hcl")).locals

  name = local.env.name
  kms  = "arn:aws:kms:${local.env.region}:${local.env.account_id}:key"

  commands = ["init", "validate", "plan", "show", "destroy"]

  network = {
    vpc_id                     = "vpc-0a1b2c3d4e5f60718"
    private_subnet_ids         = [for index, zone in local.env.zones : "subnet-0a1b2c3d4e5f6071${index}"]
    database_subnet_ids        = [for index, zone in local.env.zones : "subnet-0a1b2c3d4e5f6072${index}"]
    function_security_group_id = "sg-0a1b2c3d4e5f60711"
    database_security_group_id = "sg-0a1b2c3d4e5f60722"
    database_port              = local.emulator.database_port
    nat_public_ips             = ["198.51.100.7"]
    log_kms_key_arn            = "${local.kms}/0a1b2c3d-1111-4222-8333-444455556661"
  }

  database = {
    identifier           = local.name
    arn                  = "arn:aws:rds:${local.env.region}:${local.env.account_id}:db:${local.name}"
    host                 = local.emulator.on ? "127.0.0.1" : "${local.name}.c0a1b2c3d4e5.${local.env.region}.rds.amazonaws.com"
    port                 = local.emulator.database_port
    name                 = "geodrop"
    resource_id          = "db-ABCDEFGHIJKL0123456789MOCK"
    instance_host        = local.emulator.on ? "127.0.0.1" : "${local.name}.c0a1b2c3d4e5.${local.env.region}.rds.amazonaws.com"
    instance_resource_id = "db-ABCDEFGHIJKL0123456789MOCK"
    master_secret_arn    = local.emulator.on ? "" : "arn:aws:secretsmanager:${local.env.region}:${local.env.account_id}:secret:rds!db-0a1b2c3d-1111-4222-8333-444455556662-AbCdEf"
    kms_key_arn          = "${local.kms}/0a1b2c3d-1111-4222-8333-444455556662"
  }

  ingest = {
    bucket_name            = "${local.name}-landing-${local.env.account_id}"
    bucket_arn             = "arn:aws:s3:::${local.name}-landing-${local.env.account_id}"
    bucket_metrics_id      = local.emulator.request_metrics ? "landing" : ""
    kms_key_arn            = "${local.kms}/0a1b2c3d-1111-4222-8333-444455556663"
    queue_name             = "${local.name}-ingest"
    queue_url              = "https://sqs.${local.env.region}.amazonaws.com/${local.env.account_id}/${local.name}-ingest"
    dead_letter_queue_name = "${local.name}-ingest-dead-letter"
    dead_letter_queue_url  = "https://sqs.${local.env.region}.amazonaws.com/${local.env.account_id}/${local.name}-ingest-dead-letter"
    function_name          = "${local.name}-ingest"
  }

  api = {
    id            = "a1b2c3d4e5"
    stage_name    = local.env.environment
    url           = "https://a1b2c3d4e5.execute-api.${local.env.region}.amazonaws.com/${local.env.environment}"
    function_name = "${local.name}-api"
  }

  backup = {
    vault_name  = local.name
    vault_arn   = "arn:aws:backup:${local.env.region}:${local.env.account_id}:backup-vault:${local.name}"
    bucket_name = "${local.name}-backups-${local.env.account_id}"
    bucket_arn  = "arn:aws:s3:::${local.name}-backups-${local.env.account_id}"
    kms_key_arn = "${local.kms}/0a1b2c3d-1111-4222-8333-444455556664"
  }
}
