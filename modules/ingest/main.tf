data "aws_partition" "current" {}

locals {
  definition = jsondecode(file(var.definition))
  trigger    = local.definition.trigger
  prefix     = "landing/"

  # ARNs from names, so that policies are known before the resources are.
  partition   = data.aws_partition.current.partition
  bucket_name = "${var.name}-landing-${var.account_id}"
  bucket_arn  = "arn:${local.partition}:s3:::${local.bucket_name}"
  queue_name  = "${var.name}-ingest"
  queue_arn   = "arn:${local.partition}:sqs:${var.region}:${var.account_id}:${local.queue_name}"
  dead_name   = "${var.name}-ingest-dead-letter"
  dead_arn    = "arn:${local.partition}:sqs:${var.region}:${var.account_id}:${local.dead_name}"
}

# One key for what comes in: the bucket and its queues

resource "aws_kms_key" "this" {
  description             = "${var.name}: landing bucket and its queues"
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
        # Without this S3 cannot write its events to an encrypted queue.
        Sid       = "S3Events"
        Effect    = "Allow"
        Principal = { Service = "s3.amazonaws.com" }
        Action    = ["kms:GenerateDataKey", "kms:Decrypt"]
        Resource  = "*"
        Condition = {
          StringEquals = { "aws:SourceAccount" = var.account_id }
          ArnEquals    = { "aws:SourceArn" = local.bucket_arn }
        }
      },
    ]
  })
}

resource "aws_kms_alias" "this" {
  name          = "alias/${var.name}-landing"
  target_key_id = aws_kms_key.this.key_id
}

# The landing bucket

resource "aws_s3_bucket" "this" {
  #checkov:skip=CKV_AWS_18: The ledger records every object; access logs would need one more bucket in each environment.
  #checkov:skip=CKV_AWS_144: Copies to a second region are the backup module's, with restore points.
  bucket        = local.bucket_name
  force_destroy = var.force_destroy

  lifecycle {
    precondition {
      condition     = !var.production || (!var.force_destroy && var.lifecycle_days.noncurrent >= 30)
      error_message = "In production force_destroy must be false and lifecycle_days.noncurrent at least 30."
    }
  }
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
    id     = "landing"
    status = "Enabled"

    filter {}

    # Raw files are the record: they move to cheaper storage and stay.
    transition {
      days          = var.lifecycle_days.infrequent_access
      storage_class = "STANDARD_IA"
    }

    noncurrent_version_expiration {
      noncurrent_days = var.lifecycle_days.noncurrent
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
    Statement = [
      {
        Sid       = "TlsOnly"
        Effect    = "Deny"
        Principal = "*"
        Action    = "s3:*"
        Resource  = [local.bucket_arn, "${local.bucket_arn}/*"]
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      },
      {
        Sid       = "Tls12"
        Effect    = "Deny"
        Principal = "*"
        Action    = "s3:*"
        Resource  = [local.bucket_arn, "${local.bucket_arn}/*"]
        Condition = { NumericLessThan = { "s3:TlsVersion" = "1.2" } }
      },
    ]
  })

  depends_on = [aws_s3_bucket_public_access_block.this]
}

# Requests under landing/, so that an alarm can tell files that came from events that did not.
resource "aws_s3_bucket_metric" "this" {
  count = var.request_metrics ? 1 : 0

  bucket = aws_s3_bucket.this.id
  name   = "landing"

  filter {
    prefix = local.prefix
  }
}

# The queue of its events

resource "aws_sqs_queue" "dead_letter" {
  name                      = local.dead_name
  message_retention_seconds = 14 * 24 * 3600
  kms_master_key_id         = aws_kms_key.this.arn

  redrive_allow_policy = jsonencode({
    redrivePermission = "byQueue"
    sourceQueueArns   = [local.queue_arn]
  })

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "TlsOnly"
      Effect    = "Deny"
      Principal = "*"
      Action    = "sqs:*"
      Resource  = local.dead_arn
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    }]
  })
}

resource "aws_sqs_queue" "this" {
  name                      = local.queue_name
  message_retention_seconds = 4 * 24 * 3600
  kms_master_key_id         = aws_kms_key.this.arn

  # Lambda asks for six times the function's timeout, so that no batch is handed out twice while it is worked on.
  visibility_timeout_seconds = 6 * local.definition.timeout_s + local.trigger.batch_window_s

  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dead_letter.arn
    maxReceiveCount     = local.trigger.max_receive_count
  })

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "S3Events"
        Effect    = "Allow"
        Principal = { Service = "s3.amazonaws.com" }
        Action    = "sqs:SendMessage"
        Resource  = local.queue_arn
        Condition = {
          StringEquals = { "aws:SourceAccount" = var.account_id }
          ArnEquals    = { "aws:SourceArn" = local.bucket_arn }
        }
      },
      {
        Sid       = "TlsOnly"
        Effect    = "Deny"
        Principal = "*"
        Action    = "sqs:*"
        Resource  = local.queue_arn
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      },
    ]
  })
}

resource "aws_s3_bucket_notification" "this" {
  bucket = aws_s3_bucket.this.id

  # AWS Backup follows the bucket by EventBridge.
  eventbridge = true

  # S3 tries the queue when this is set, and refuses where it may not write: the queue is made with
  # its policy, and the key with its own.
  queue {
    id            = "ingest"
    queue_arn     = aws_sqs_queue.this.arn
    events        = ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]
    filter_prefix = local.prefix
  }

}

# The function

module "function" {
  source = "../function"

  name       = "${var.name}-ingest"
  account_id = var.account_id
  region     = var.region
  package    = var.package
  definition = var.definition

  environment = {
    GEODROP_DATABASE_URL = "postgresql://${local.definition.database_user}@${var.database.host}:${var.database.port}/${var.database.name}?sslmode=${var.database.sslmode}"
    GEODROP_ENV          = var.environment_name
    GEODROP_LOG_LEVEL    = "INFO"
  }

  statements = [
    {
      sid       = "TakeEvents"
      actions   = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"]
      resources = [local.queue_arn]
    },
    {
      sid       = "ReadObjects"
      actions   = ["s3:GetObject", "s3:GetObjectVersion"]
      resources = ["${local.bucket_arn}/${local.prefix}*"]
    },
    {
      # Without it S3 says 403 and not 404 of an object that is gone.
      sid       = "TellMissingFromForbidden"
      actions   = ["s3:ListBucket"]
      resources = [local.bucket_arn]
    },
    {
      sid       = "Decrypt"
      actions   = ["kms:Decrypt"]
      resources = [aws_kms_key.this.arn]
    },
  ]

  network              = var.network
  database_resource_id = var.database.resource_id
  reserved_concurrency = var.reserved_concurrency
  logs                 = var.logs
  tracing              = var.tracing
  alarm_topic_arn      = var.alarm_topic_arn
}

resource "aws_lambda_event_source_mapping" "this" {
  event_source_arn                   = aws_sqs_queue.this.arn
  function_name                      = module.function.arn
  batch_size                         = local.trigger.batch_size
  maximum_batching_window_in_seconds = local.trigger.batch_window_s
  function_response_types            = ["ReportBatchItemFailures"]

  scaling_config {
    maximum_concurrency = var.maximum_concurrency
  }

  lifecycle {
    precondition {
      condition     = var.reserved_concurrency == -1 || var.maximum_concurrency <= var.reserved_concurrency
      error_message = "maximum_concurrency (${var.maximum_concurrency}) must not exceed reserved_concurrency (${var.reserved_concurrency}): the queue would be throttled and good messages would end in the dead-letter queue."
    }

    precondition {
      condition     = local.trigger.type == "sqs"
      error_message = "${var.definition}: the trigger of ingest must be of type sqs."
    }

    precondition {
      condition     = local.trigger.batch_size <= 10 || local.trigger.batch_window_s >= 1
      error_message = "${var.definition}: a batch_size over 10 needs a batch_window_s of at least 1."
    }
  }
}
