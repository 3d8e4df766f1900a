locals {
  definition = jsondecode(file(var.definition))
  secured    = var.master_secret.arn != ""

  files    = sort(fileset(var.sql, "*.sql"))
  newest   = substr(local.files[length(local.files) - 1], 0, 4)
  checksum = sha256(join("\n", [for file in local.files : "${file} ${filesha256("${var.sql}/${file}")}"]))
}

module "function" {
  source = "../function"

  name       = "${var.name}-migrate"
  account_id = var.account_id
  region     = var.region
  package    = var.package
  definition = var.definition

  environment = {
    GEODROP_DATABASE_URL        = "postgresql://${local.definition.database_user}@${var.database.host}:${var.database.port}/${var.database.name}?sslmode=${var.database.sslmode}"
    GEODROP_DATABASE_SECRET_ARN = var.master_secret.arn
    GEODROP_LOG_LEVEL           = "INFO"
  }

  statements = [
    for statement in [
      {
        sid        = "ReadMasterSecret"
        actions    = ["secretsmanager:GetSecretValue"]
        resources  = [var.master_secret.arn]
        conditions = []
      },
      {
        sid       = "DecryptMasterSecret"
        actions   = ["kms:Decrypt"]
        resources = [var.master_secret.kms_key_arn]
        conditions = [{
          test     = "StringEquals"
          variable = "kms:ViaService"
          values   = ["secretsmanager.${var.region}.amazonaws.com"]
        }]
      },
    ] : statement if local.secured
  ]

  network         = var.network
  logs            = var.logs
  tracing         = var.tracing
  alarm_topic_arn = var.alarm_topic_arn
}

# Runs when the function is new, and whenever a migration or the package changes. A migration that
# fails raises in the function, which fails the apply; it is tried again by the next one. The package
# is among the triggers so that a new one can mend a result that the postcondition refuses.
resource "aws_lambda_invocation" "this" {
  function_name = module.function.name
  input         = jsonencode({ action = "migrate", checksum = local.checksum })
  triggers      = { sql = local.checksum, package = filesha256(var.package) }

  # The role's rights and the log group too, not only the function.
  depends_on = [module.function]

  lifecycle {
    precondition {
      condition     = local.secured || var.database.sslmode == "disable"
      error_message = "master_secret is needed: without it the migrate function cannot sign in as the master user."
    }

    postcondition {
      condition     = try(jsondecode(self.result).current, "") == local.newest
      error_message = "The migration did not end at ${local.newest}. Is the package built from the same SQL (`python functions/build.py`)? The function said: ${self.result}"
    }
  }
}
