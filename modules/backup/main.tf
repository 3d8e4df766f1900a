data "aws_partition" "current" {}

locals {
  partition   = data.aws_partition.current.partition
  bucket_name = "${var.name}-backups-${var.account_id}"
  bucket_arn  = "arn:${local.partition}:s3:::${local.bucket_name}"
  scheduled   = var.logical.function_arn != ""

  managed_policies = toset([
    "service-role/AWSBackupServiceRolePolicyForBackup",
    "service-role/AWSBackupServiceRolePolicyForRestores",
    "AWSBackupServiceRolePolicyForS3Backup",
    "AWSBackupServiceRolePolicyForS3Restore",
  ])
}

resource "aws_kms_key" "this" {
  description             = "${var.name}: backups"
  enable_key_rotation     = true
  deletion_window_in_days = 30

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "Account"
        Effect    = "Allow"
        Principal = { AWS = "arn:${local.partition}:iam::${var.account_id}:root" }
        Action    = "kms:*"
        Resource  = "*"
      },
      {
        # The vault's key is used in the name of this module's role and of whoever restores.
        Sid       = "Backup"
        Effect    = "Allow"
        Principal = { AWS = "arn:${local.partition}:iam::${var.account_id}:root" }
        Action    = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:CreateGrant", "kms:DescribeKey"]
        Resource  = "*"
        Condition = {
          StringEquals = {
            "kms:CallerAccount" = var.account_id
            "kms:ViaService"    = ["backup.${var.region}.amazonaws.com", "s3.${var.region}.amazonaws.com"]
          }
        }
      },
    ]
  })
}

resource "aws_kms_alias" "this" {
  name          = "alias/${var.name}-backup"
  target_key_id = aws_kms_key.this.key_id
}

# AWS Backup: snapshots once a day, and continuously for recovery to any second

resource "aws_backup_vault" "this" {
  name          = var.name
  kms_key_arn   = aws_kms_key.this.arn
  force_destroy = var.force_destroy

  lifecycle {
    precondition {
      condition     = !var.production || (!var.force_destroy && var.vault_lock.enabled)
      error_message = "In production force_destroy must be false and vault_lock.enabled true."
    }
  }
}

resource "aws_backup_vault_lock_configuration" "this" {
  count = var.vault_lock.enabled ? 1 : 0

  backup_vault_name   = aws_backup_vault.this.name
  min_retention_days  = var.vault_lock.minimum_days
  max_retention_days  = var.vault_lock.maximum_days
  changeable_for_days = var.vault_lock.compliance_after_days > 0 ? var.vault_lock.compliance_after_days : null

  lifecycle {
    precondition {
      condition = alltrue([
        for days in [var.daily.retention_days, var.continuous_retention_days] :
        days >= var.vault_lock.minimum_days && days <= var.vault_lock.maximum_days
      ])
      error_message = "daily.retention_days and continuous_retention_days must lie between vault_lock.minimum_days and vault_lock.maximum_days: a locked vault refuses other backups."
    }
  }
}

data "aws_iam_policy_document" "backup_trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["backup.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [var.account_id]
    }
  }
}

resource "aws_iam_role" "backup" {
  name               = "${var.name}-backup"
  description        = "AWS Backup of ${var.name}: takes and restores backups"
  assume_role_policy = data.aws_iam_policy_document.backup_trust.json
}

resource "aws_iam_role_policy_attachment" "backup" {
  for_each = local.managed_policies

  role       = aws_iam_role.backup.name
  policy_arn = "arn:${local.partition}:iam::aws:policy/${each.key}"
}

resource "aws_backup_plan" "daily" {
  name = "${var.name}-daily"

  rule {
    rule_name         = "daily"
    target_vault_name = aws_backup_vault.this.name
    schedule          = var.daily.schedule
    start_window      = 60
    completion_window = 480

    lifecycle {
      delete_after = var.daily.retention_days
    }

    dynamic "copy_action" {
      for_each = var.copy.vault_arn == "" ? [] : [true]

      content {
        destination_vault_arn = var.copy.vault_arn

        lifecycle {
          delete_after = var.copy.retention_days
        }
      }
    }
  }

  lifecycle {
    precondition {
      condition     = !strcontains(var.copy.vault_arn, ":backup:${var.region}:")
      error_message = "copy.vault_arn must lie in another region than ${var.region}."
    }
  }
}

resource "aws_backup_plan" "continuous" {
  name = "${var.name}-continuous"

  rule {
    rule_name                = "continuous"
    target_vault_name        = aws_backup_vault.this.name
    schedule                 = "cron(0 12 * * ? *)"
    start_window             = 60
    completion_window        = 480
    enable_continuous_backup = true

    lifecycle {
      delete_after = var.continuous_retention_days
    }
  }
}

resource "aws_backup_selection" "this" {
  for_each = {
    daily      = aws_backup_plan.daily.id
    continuous = aws_backup_plan.continuous.id
  }

  name         = "${var.name}-${each.key}"
  plan_id      = each.value
  iam_role_arn = aws_iam_role.backup.arn
  resources    = var.resource_arns

  depends_on = [aws_iam_role_policy_attachment.backup]
}

# The bucket of logical backups

resource "aws_s3_bucket" "this" {
  #checkov:skip=CKV_AWS_18: One function writes here, and its log says what; access logs would need one more bucket.
  #checkov:skip=CKV_AWS_144: What is copied to a second region are the vault's daily backups.
  #checkov:skip=CKV2_AWS_62: Nothing waits for a backup; that one is missing is an alarm.
  bucket        = local.bucket_name
  force_destroy = var.force_destroy
}

resource "aws_s3_bucket_public_access_block" "this" {
  bucket = aws_s3_bucket.this.id

  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "this" {
  bucket = aws_s3_bucket.this.id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_versioning" "this" {
  bucket = aws_s3_bucket.this.id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "this" {
  bucket = aws_s3_bucket.this.id

  rule {
    bucket_key_enabled = true

    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = aws_kms_key.this.arn
    }
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "this" {
  bucket = aws_s3_bucket.this.id

  rule {
    id     = "backups"
    status = "Enabled"

    filter {}

    expiration {
      days = var.logical.retention_days
    }

    noncurrent_version_expiration {
      noncurrent_days = 30
    }

    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }

  depends_on = [aws_s3_bucket_versioning.this]
}

resource "aws_s3_bucket_policy" "this" {
  bucket = aws_s3_bucket.this.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "TlsOnly"
      Effect    = "Deny"
      Principal = "*"
      Action    = "s3:*"
      Resource  = [local.bucket_arn, "${local.bucket_arn}/*"]
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    }]
  })

  depends_on = [aws_s3_bucket_public_access_block.this]
}

# Their schedule, once there is a function

data "aws_iam_policy_document" "schedule_trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["scheduler.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [var.account_id]
    }
  }
}

data "aws_iam_policy_document" "schedule" {
  count = local.scheduled ? 1 : 0

  statement {
    sid       = "Invoke"
    actions   = ["lambda:InvokeFunction"]
    resources = [var.logical.function_arn]
  }
}

resource "aws_iam_role" "schedule" {
  count = local.scheduled ? 1 : 0

  name               = "${var.name}-backup-schedule"
  description        = "Starts the logical backups of ${var.name}"
  assume_role_policy = data.aws_iam_policy_document.schedule_trust.json
}

resource "aws_iam_role_policy" "schedule" {
  count = local.scheduled ? 1 : 0

  name   = "invoke"
  role   = aws_iam_role.schedule[0].id
  policy = data.aws_iam_policy_document.schedule[0].json
}

resource "aws_scheduler_schedule" "logical" {
  #checkov:skip=CKV_AWS_297: The schedule holds the name of a bucket and no data; AWS encrypts it with a key of its own.
  count = local.scheduled ? 1 : 0

  name                         = "${var.name}-logical-backup"
  description                  = "Logical backup of ${var.name}"
  schedule_expression          = var.logical.schedule
  schedule_expression_timezone = "UTC"

  flexible_time_window {
    mode = "OFF"
  }

  target {
    arn      = var.logical.function_arn
    role_arn = aws_iam_role.schedule[0].arn
    input    = jsonencode({ action = "backup", bucket = local.bucket_name })

    retry_policy {
      maximum_event_age_in_seconds = 3600
      maximum_retry_attempts       = 2
    }
  }

  depends_on = [aws_iam_role_policy.schedule]
}
