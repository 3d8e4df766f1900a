# Outputs that stand in while a unit that others depend on is not applied yet: for validate, plan and destroy, never for
# apply. They look real, since the modules check what they are given. A test holds them to the modules' outputs.

locals {
  emulator = read_terragrunt_config("${get_terragrunt_dir()}/_emulator.hcl").locals

  place = "eu-central-1:111122223333"
  name  = "geodrop-mock"
  host  = local.emulator.on ? "127.0.0.1" : "geodrop-mock.c0a1b2c3d4e5.eu-central-1.rds.amazonaws.com"
  key   = "arn:aws:kms:${local.place}:key/0a1b2c3d-1111-4222-8333-4444555566"

  commands = ["init", "validate", "plan", "show", "destroy"]

  network = {
    vpc_id                     = "vpc-0a1b2c3d4e5f60718"
    private_subnet_ids         = ["subnet-0a1b2c3d4e5f60711", "subnet-0a1b2c3d4e5f60712"]
    database_subnet_ids        = ["subnet-0a1b2c3d4e5f60721", "subnet-0a1b2c3d4e5f60722"]
    function_security_group_id = "sg-0a1b2c3d4e5f60711"
    database_security_group_id = "sg-0a1b2c3d4e5f60722"
    database_port              = local.emulator.database_port
    nat_public_ips             = ["198.51.100.7"]
    log_kms_key_arn            = "${local.key}61"
  }

  database = {
    identifier           = local.name
    arn                  = "arn:aws:rds:${local.place}:db:${local.name}"
    host                 = local.host
    port                 = local.emulator.database_port
    name                 = "geodrop"
    resource_id          = "db-ABCDEFGHIJKL0123456789MOCK"
    instance_host        = local.host
    instance_resource_id = "db-ABCDEFGHIJKL0123456789MOCK"
    master_secret_arn    = local.emulator.on ? "" : "arn:aws:secretsmanager:${local.place}:secret:rds!db-0a1b2c3d-1111-4222-8333-444455556662-AbCdEf"
    kms_key_arn          = "${local.key}62"
  }

  ingest = {
    bucket_name            = "${local.name}-landing-111122223333"
    bucket_arn             = "arn:aws:s3:::${local.name}-landing-111122223333"
    bucket_metrics_id      = local.emulator.request_metrics ? "landing" : ""
    kms_key_arn            = "${local.key}63"
    queue_name             = "${local.name}-ingest"
    queue_url              = "https://sqs.eu-central-1.amazonaws.com/111122223333/${local.name}-ingest"
    dead_letter_queue_name = "${local.name}-ingest-dead-letter"
    dead_letter_queue_url  = "https://sqs.eu-central-1.amazonaws.com/111122223333/${local.name}-ingest-dead-letter"
    function_name          = "${local.name}-ingest"
  }

  api = {
    id            = "a1b2c3d4e5"
    stage_name    = "mock"
    url           = "https://a1b2c3d4e5.execute-api.eu-central-1.amazonaws.com/mock"
    function_name = "${local.name}-api"
  }
}
