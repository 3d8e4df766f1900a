data "aws_partition" "current" {}

locals {
  major   = split(".", var.engine_version)[0]
  proxied = length(var.proxy_secret_arns) > 0

  log_types = ["postgresql", "upgrade"]
}

# RDS, Secrets Manager and AWS Backup use the key in the name of roles of this account, whom the
# first statement admits as far as their own policies go; they take it by grants.
resource "aws_kms_key" "this" {
  description             = "${var.name}: database"
  enable_key_rotation     = true
  deletion_window_in_days = 30

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "Account"
        Effect    = "Allow"
        Principal = { AWS = "arn:${data.aws_partition.current.partition}:iam::${var.account_id}:root" }
        Action    = "kms:*"
        Resource  = "*"
      },
      {
        Sid       = "DatabaseServices"
        Effect    = "Allow"
        Principal = { AWS = "arn:${data.aws_partition.current.partition}:iam::${var.account_id}:root" }
        Action    = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:CreateGrant", "kms:ListGrants", "kms:DescribeKey"]
        Resource  = "*"
        Condition = {
          StringEquals = {
            "kms:CallerAccount" = var.account_id
            "kms:ViaService" = [
              "rds.${var.region}.amazonaws.com",
              "secretsmanager.${var.region}.amazonaws.com",
              "backup.${var.region}.amazonaws.com",
            ]
          }
        }
      },
    ]
  })
}

resource "aws_kms_alias" "this" {
  name          = "alias/${var.name}-database"
  target_key_id = aws_kms_key.this.key_id
}

resource "aws_db_subnet_group" "this" {
  name        = var.name
  description = "Database subnets of ${var.name}"
  subnet_ids  = var.subnet_ids
}

resource "aws_db_parameter_group" "this" {
  name        = "${var.name}-postgres${local.major}"
  description = "PostgreSQL ${local.major} with PostGIS for ${var.name}"
  family      = "postgres${local.major}"

  dynamic "parameter" {
    for_each = {
      "rds.force_ssl" = "1"

      # Aggregates are upserted all day: clean up behind them early, or their indexes bloat.
      "autovacuum_vacuum_scale_factor"  = "0.05"
      "autovacuum_analyze_scale_factor" = "0.02"

      # gp3 reads anywhere about as fast as in sequence; spatial queries depend on index scans.
      "random_page_cost"         = "1.1"
      "effective_io_concurrency" = "200"

      # Queries are short; compiling them costs more than it saves.
      "jit" = "0"

      # kB: sorts and GROUP BY of one object, and index builds in migrations.
      "work_mem"             = "16384"
      "maintenance_work_mem" = "131072"

      # ms: a session that died inside a transaction must not keep its locks.
      "idle_in_transaction_session_timeout" = "60000"

      # ms: what to look at first when the API is slow.
      "log_min_duration_statement" = "1000"
      "log_statement"              = "ddl"
      "log_lock_waits"             = "1"
      "track_io_timing"            = "1"
    }

    content {
      name  = parameter.key
      value = parameter.value
    }
  }

  # Read at start only.
  parameter {
    name         = "shared_preload_libraries"
    value        = "pg_stat_statements"
    apply_method = "pending-reboot"
  }

  lifecycle {
    create_before_destroy = true
  }
}

# Made before RDS writes to them, or RDS would make them without key and end.
resource "aws_cloudwatch_log_group" "this" {
  #checkov:skip=CKV_AWS_338: How long logs are kept is the environment's choice; the default is a year.
  for_each = toset(local.log_types)

  name              = "/aws/rds/instance/${var.name}/${each.key}"
  retention_in_days = var.logs.retention_days
  kms_key_id        = var.logs.kms_key_arn
}

data "aws_iam_policy_document" "monitoring_trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["monitoring.rds.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [var.account_id]
    }
  }
}

resource "aws_iam_role" "monitoring" {
  name               = "${var.name}-database-monitoring"
  description        = "Enhanced monitoring of the database of ${var.name}"
  assume_role_policy = data.aws_iam_policy_document.monitoring_trust.json
}

resource "aws_iam_role_policy_attachment" "monitoring" {
  role       = aws_iam_role.monitoring.name
  policy_arn = "arn:${data.aws_partition.current.partition}:iam::aws:policy/service-role/AmazonRDSEnhancedMonitoringRole"
}

resource "aws_db_instance" "this" {
  #checkov:skip=CKV_AWS_157: One zone or two is the environment's choice; the default is two, and production insists on it.
  #checkov:skip=CKV_AWS_293: Deletion protection is the environment's choice; it is on by default, and production insists on it.
  identifier = var.name

  engine                      = "postgres"
  engine_version              = var.engine_version
  auto_minor_version_upgrade  = true
  allow_major_version_upgrade = false
  instance_class              = var.instance_class
  multi_az                    = var.multi_az
  parameter_group_name        = aws_db_parameter_group.this.name
  ca_cert_identifier          = "rds-ca-rsa2048-g1"

  storage_type          = "gp3"
  allocated_storage     = var.storage.allocated_gib
  max_allocated_storage = var.storage.maximum_gib
  storage_encrypted     = true
  kms_key_id            = aws_kms_key.this.arn

  db_name                             = "geodrop"
  username                            = "geodrop"
  manage_master_user_password         = true
  master_user_secret_kms_key_id       = aws_kms_key.this.arn
  iam_database_authentication_enabled = true

  db_subnet_group_name   = aws_db_subnet_group.this.name
  vpc_security_group_ids = [var.security_group_id]
  publicly_accessible    = false
  port                   = var.port

  # UTC. Apart from each other and from the backup module's jobs (02:00 and 12:00), as RDS and AWS Backup ask.
  backup_window      = "00:00-00:30"
  maintenance_window = "sun:05:00-sun:06:00"

  backup_retention_period   = var.backup_retention_days
  copy_tags_to_snapshot     = true
  delete_automated_backups  = !var.final_snapshot
  deletion_protection       = var.deletion_protection
  skip_final_snapshot       = !var.final_snapshot
  final_snapshot_identifier = var.final_snapshot ? "${var.name}-final" : null

  enabled_cloudwatch_logs_exports = local.log_types

  # Seven days of query load are free.
  performance_insights_enabled          = true
  performance_insights_kms_key_id       = aws_kms_key.this.arn
  performance_insights_retention_period = 7

  monitoring_interval = 60
  monitoring_role_arn = aws_iam_role.monitoring.arn

  depends_on = [
    aws_cloudwatch_log_group.this,
    aws_iam_role_policy_attachment.monitoring,
  ]

  lifecycle {
    # AWS Backup's continuous rule takes these over, and refuses changes from elsewhere.
    ignore_changes = [backup_retention_period, backup_window]

    precondition {
      condition     = !var.production || (var.multi_az && var.deletion_protection && var.final_snapshot && var.backup_retention_days >= 7)
      error_message = "In production multi_az, deletion_protection and final_snapshot must be true and backup_retention_days at least 7."
    }

    precondition {
      condition     = !local.proxied || var.port == 5432
      error_message = "An RDS Proxy listens on 5432: with proxy_secret_arns, port must be 5432."
    }
  }
}

# RDS Proxy, by input

resource "aws_cloudwatch_log_group" "proxy" {
  #checkov:skip=CKV_AWS_338: How long logs are kept is the environment's choice; the default is a year.
  count = local.proxied ? 1 : 0

  name              = "/aws/rds/proxy/${var.name}"
  retention_in_days = var.logs.retention_days
  kms_key_id        = var.logs.kms_key_arn
}

data "aws_iam_policy_document" "proxy_trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["rds.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [var.account_id]
    }
  }
}

data "aws_iam_policy_document" "proxy" {
  count = local.proxied ? 1 : 0

  statement {
    sid       = "ReadSecrets"
    actions   = ["secretsmanager:GetSecretValue"]
    resources = var.proxy_secret_arns
  }

  statement {
    sid       = "DecryptSecrets"
    actions   = ["kms:Decrypt"]
    resources = [aws_kms_key.this.arn]

    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = ["secretsmanager.${var.region}.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "proxy" {
  count = local.proxied ? 1 : 0

  name               = "${var.name}-database-proxy"
  description        = "RDS Proxy of ${var.name}: reads the secrets of the roles that connect"
  assume_role_policy = data.aws_iam_policy_document.proxy_trust.json
}

resource "aws_iam_role_policy" "proxy" {
  count = local.proxied ? 1 : 0

  name   = "secrets"
  role   = aws_iam_role.proxy[0].id
  policy = data.aws_iam_policy_document.proxy[0].json
}

resource "aws_db_proxy" "this" {
  count = local.proxied ? 1 : 0

  name                   = var.name
  engine_family          = "POSTGRESQL"
  require_tls            = true
  role_arn               = aws_iam_role.proxy[0].arn
  vpc_subnet_ids         = var.subnet_ids
  vpc_security_group_ids = [var.security_group_id]

  dynamic "auth" {
    for_each = var.proxy_secret_arns

    content {
      auth_scheme = "SECRETS"
      iam_auth    = "REQUIRED"
      secret_arn  = auth.value
    }
  }

  depends_on = [aws_cloudwatch_log_group.proxy, aws_iam_role_policy.proxy]
}

resource "aws_db_proxy_default_target_group" "this" {
  count = local.proxied ? 1 : 0

  db_proxy_name = aws_db_proxy.this[0].name

  connection_pool_config {
    max_connections_percent = 80
  }
}

resource "aws_db_proxy_target" "this" {
  count = local.proxied ? 1 : 0

  db_proxy_name          = aws_db_proxy.this[0].name
  target_group_name      = aws_db_proxy_default_target_group.this[0].name
  db_instance_identifier = aws_db_instance.this.identifier
}

# The proxy lives in the database's own group: it reaches the instance inside that group.
resource "aws_vpc_security_group_egress_rule" "proxy" {
  count = local.proxied ? 1 : 0

  security_group_id            = var.security_group_id
  description                  = "PostgreSQL from proxy to instance"
  referenced_security_group_id = var.security_group_id
  ip_protocol                  = "tcp"
  from_port                    = var.port
  to_port                      = var.port
}

resource "aws_vpc_security_group_ingress_rule" "proxy" {
  count = local.proxied ? 1 : 0

  security_group_id            = var.security_group_id
  description                  = "PostgreSQL from proxy to instance"
  referenced_security_group_id = var.security_group_id
  ip_protocol                  = "tcp"
  from_port                    = var.port
  to_port                      = var.port
}
