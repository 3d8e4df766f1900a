data "aws_partition" "current" {}

locals {
  partition  = data.aws_partition.current.partition
  topic_name = "${var.name}-alarms"
  topic_arn  = "arn:${local.partition}:sns:${var.region}:${var.account_id}:${local.topic_name}"

  # One metric against one threshold. missing: what it means that AWS has no figure.
  alarms = {
    dead-letter = {
      description = "An event failed every try and lies in the dead-letter queue."
      namespace   = "AWS/SQS"
      metric      = "ApproximateNumberOfMessagesVisible"
      dimensions  = { QueueName = var.ingest.dead_letter_queue_name }
      statistic   = "Maximum"
      period      = 60
      periods     = 1
      comparison  = "GreaterThanOrEqualToThreshold"
      threshold   = 1
      missing     = "notBreaching"
    }
    oldest-message = {
      description = "An event has waited more than ${var.thresholds.oldest_message_s} s for ingest."
      namespace   = "AWS/SQS"
      metric      = "ApproximateAgeOfOldestMessage"
      dimensions  = { QueueName = var.ingest.queue_name }
      statistic   = "Maximum"
      period      = 60
      periods     = 5
      comparison  = "GreaterThanThreshold"
      threshold   = var.thresholds.oldest_message_s
      missing     = "notBreaching"
    }
    api-latency = {
      description = "One request in twenty took more than ${var.thresholds.api_p95_ms} ms."
      namespace   = "AWS/ApiGateway"
      metric      = "Latency"
      dimensions  = { ApiId = var.api.id, Stage = var.api.stage_name }
      statistic   = "p95"
      period      = 300
      periods     = 3
      comparison  = "GreaterThanThreshold"
      threshold   = var.thresholds.api_p95_ms
      missing     = "notBreaching"
    }
    database-cpu = {
      description = "The database's CPU was over ${var.thresholds.database_cpu_percent} % for 15 minutes."
      namespace   = "AWS/RDS"
      metric      = "CPUUtilization"
      dimensions  = { DBInstanceIdentifier = var.database.identifier }
      statistic   = "Average"
      period      = 300
      periods     = 3
      comparison  = "GreaterThanThreshold"
      threshold   = var.thresholds.database_cpu_percent
      missing     = "missing"
    }
    database-storage = {
      description = "The database has less than ${var.thresholds.database_free_gib} GiB of disk left."
      namespace   = "AWS/RDS"
      metric      = "FreeStorageSpace"
      dimensions  = { DBInstanceIdentifier = var.database.identifier }
      statistic   = "Minimum"
      period      = 300
      periods     = 1
      comparison  = "LessThanThreshold"
      threshold   = var.thresholds.database_free_gib * 1024 * 1024 * 1024
      missing     = "missing"
    }
    database-connections = {
      description = "More than ${var.thresholds.database_connections} connections to the database, for 15 minutes."
      namespace   = "AWS/RDS"
      metric      = "DatabaseConnections"
      dimensions  = { DBInstanceIdentifier = var.database.identifier }
      statistic   = "Maximum"
      period      = 300
      periods     = 3
      comparison  = "GreaterThanThreshold"
      threshold   = var.thresholds.database_connections
      missing     = "missing"
    }
    backup-failed = {
      description = "A backup job failed."
      namespace   = "AWS/Backup"
      metric      = "NumberOfBackupJobsFailed"
      dimensions  = { BackupVaultName = var.backup.vault_name }
      statistic   = "Sum"
      period      = 3600
      periods     = 1
      comparison  = "GreaterThanOrEqualToThreshold"
      threshold   = 1
      missing     = "notBreaching"
    }
    # 26 hours: a day, and the time that a job may start late.
    backup-missed = {
      description = "No backup job has ended well for 26 hours."
      namespace   = "AWS/Backup"
      metric      = "NumberOfBackupJobsCompleted"
      dimensions  = { BackupVaultName = var.backup.vault_name }
      statistic   = "Sum"
      period      = 3600
      periods     = 26
      comparison  = "LessThanThreshold"
      threshold   = 1
      missing     = "breaching"
    }
  }

  # Several metrics against one threshold.
  expressions = {
    s3-event-failures = {
      description = "Files were put under landing/ and no event of theirs reached the queue."
      expression  = "IF(FILL(puts, 0) + FILL(posts, 0) > 0 AND FILL(events, 0) == 0, 1, 0)"
      threshold   = 1
      period      = 900
      periods     = 1
      metrics = {
        puts   = { namespace = "AWS/S3", metric = "PutRequests", dimensions = { BucketName = var.ingest.bucket_name, FilterId = var.ingest.bucket_metrics_id } }
        posts  = { namespace = "AWS/S3", metric = "PostRequests", dimensions = { BucketName = var.ingest.bucket_name, FilterId = var.ingest.bucket_metrics_id } }
        events = { namespace = "AWS/SQS", metric = "NumberOfMessagesSent", dimensions = { QueueName = var.ingest.queue_name } }
      }
    }
    api-errors = {
      description = "More than ${var.thresholds.api_5xx_percent} % of the API's answers were 5xx."
      expression  = "100 * FILL(failed, 0) / IF(FILL(requests, 0) > 0, FILL(requests, 0), 1)"
      threshold   = var.thresholds.api_5xx_percent
      period      = 300
      periods     = 2
      metrics = {
        failed   = { namespace = "AWS/ApiGateway", metric = "5xx", dimensions = { ApiId = var.api.id, Stage = var.api.stage_name } }
        requests = { namespace = "AWS/ApiGateway", metric = "Count", dimensions = { ApiId = var.api.id, Stage = var.api.stage_name } }
      }
    }
  }
}

# The topic

resource "aws_kms_key" "this" {
  description             = "${var.name}: alarms"
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
        # Without this CloudWatch cannot notify an encrypted topic, and says so nowhere.
        Sid       = "CloudWatchAlarms"
        Effect    = "Allow"
        Principal = { Service = "cloudwatch.amazonaws.com" }
        Action    = ["kms:Decrypt", "kms:GenerateDataKey*"]
        Resource  = "*"
        Condition = { StringEquals = { "aws:SourceAccount" = var.account_id } }
      },
    ]
  })
}

resource "aws_kms_alias" "this" {
  name          = "alias/${var.name}-alarms"
  target_key_id = aws_kms_key.this.key_id
}

resource "aws_sns_topic" "this" {
  name              = local.topic_name
  kms_master_key_id = aws_kms_key.this.arn

  lifecycle {
    precondition {
      condition     = !var.production || length(var.subscribers) > 0
      error_message = "In production there must be a subscriber: an alarm that nobody hears is none."
    }
  }
}

resource "aws_sns_topic_policy" "this" {
  arn = aws_sns_topic.this.arn

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "CloudWatchAlarms"
        Effect    = "Allow"
        Principal = { Service = "cloudwatch.amazonaws.com" }
        Action    = "sns:Publish"
        Resource  = local.topic_arn
        Condition = { StringEquals = { "aws:SourceAccount" = var.account_id } }
      },
      {
        Sid       = "TlsOnly"
        Effect    = "Deny"
        Principal = "*"
        Action    = "sns:Publish"
        Resource  = local.topic_arn
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      },
    ]
  })
}

resource "aws_sns_topic_subscription" "this" {
  for_each = var.subscribers

  topic_arn = aws_sns_topic.this.arn
  protocol  = startswith(each.key, "https://") ? "https" : "email"
  endpoint  = each.key
}

# The alarms

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each = local.alarms

  alarm_name        = "${var.name}-${each.key}"
  alarm_description = "${each.value.description} Runbook: docs/runbooks/${each.key}.md"

  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = startswith(each.value.statistic, "p") ? null : each.value.statistic
  extended_statistic  = startswith(each.value.statistic, "p") ? each.value.statistic : null
  period              = each.value.period
  evaluation_periods  = each.value.periods
  comparison_operator = each.value.comparison
  threshold           = each.value.threshold
  treat_missing_data  = each.value.missing

  alarm_actions = [aws_sns_topic.this.arn]
  ok_actions    = [aws_sns_topic.this.arn]
}

resource "aws_cloudwatch_metric_alarm" "expression" {
  for_each = { for name, alarm in local.expressions : name => alarm if name != "s3-event-failures" || var.ingest.bucket_metrics_id != "" }

  alarm_name        = "${var.name}-${each.key}"
  alarm_description = "${each.value.description} Runbook: docs/runbooks/${each.key}.md"

  evaluation_periods  = each.value.periods
  comparison_operator = each.key == "api-errors" ? "GreaterThanThreshold" : "GreaterThanOrEqualToThreshold"
  threshold           = each.value.threshold
  treat_missing_data  = "notBreaching"

  metric_query {
    id          = "result"
    label       = each.key
    expression  = each.value.expression
    return_data = true
  }

  dynamic "metric_query" {
    for_each = each.value.metrics

    content {
      id = metric_query.key

      metric {
        namespace   = metric_query.value.namespace
        metric_name = metric_query.value.metric
        dimensions  = metric_query.value.dimensions
        stat        = "Sum"
        period      = each.value.period
      }
    }
  }

  alarm_actions = [aws_sns_topic.this.arn]
  ok_actions    = [aws_sns_topic.this.arn]
}

# ingest writes the metric by dataset, and alarms cannot search dimensions; a query can sum them.
resource "aws_cloudwatch_metric_alarm" "ingest_errors" {
  alarm_name        = "${var.name}-ingest-errors"
  alarm_description = "A file could not be ingested. Runbook: docs/runbooks/ingest-errors.md"

  evaluation_periods  = 1
  comparison_operator = "GreaterThanOrEqualToThreshold"
  threshold           = 1
  treat_missing_data  = "notBreaching"

  metric_query {
    id          = "failed"
    label       = "ObjectsFailed"
    expression  = "SELECT SUM(ObjectsFailed) FROM SCHEMA(\"geodrop\", dataset, environment) WHERE environment = '${var.environment_name}'"
    period      = 300
    return_data = true
  }

  alarm_actions = [aws_sns_topic.this.arn]
  ok_actions    = [aws_sns_topic.this.arn]
}

# The dashboard, in the order of a file's way

locals {
  # title => metrics, each as CloudWatch writes it: namespace, name, dimension, value, options
  widgets = [
    {
      title = "Files put, events sent"
      metrics = [
        ["AWS/S3", "PutRequests", "BucketName", var.ingest.bucket_name, "FilterId", var.ingest.bucket_metrics_id, { stat = "Sum" }],
        ["AWS/SQS", "NumberOfMessagesSent", "QueueName", var.ingest.queue_name, { stat = "Sum" }],
      ]
    },
    {
      title = "Events waiting, and in the dead-letter queue"
      metrics = [
        ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", var.ingest.queue_name, { stat = "Maximum" }],
        ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", var.ingest.dead_letter_queue_name, { stat = "Maximum" }],
      ]
    },
    {
      title = "Age of the oldest event (s)"
      metrics = [
        ["AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName", var.ingest.queue_name, { stat = "Maximum" }],
      ]
    },
    {
      title = "Rows accepted and rejected, objects failed"
      metrics = [
        [{ expression = "SUM(SEARCH('{geodrop,dataset,environment} environment=\"${var.environment_name}\" MetricName=\"RowsAccepted\"', 'Sum', 300))", label = "RowsAccepted" }],
        [{ expression = "SUM(SEARCH('{geodrop,dataset,environment} environment=\"${var.environment_name}\" MetricName=\"RowsRejected\"', 'Sum', 300))", label = "RowsRejected" }],
        [{ expression = "SUM(SEARCH('{geodrop,dataset,environment} environment=\"${var.environment_name}\" MetricName=\"ObjectsFailed\"', 'Sum', 300))", label = "ObjectsFailed" }],
      ]
    },
    {
      title = "Functions: errors and throttles"
      metrics = [
        ["AWS/Lambda", "Errors", "FunctionName", var.ingest.function_name, { stat = "Sum" }],
        ["AWS/Lambda", "Throttles", "FunctionName", var.ingest.function_name, { stat = "Sum" }],
        ["AWS/Lambda", "Errors", "FunctionName", var.api.function_name, { stat = "Sum" }],
        ["AWS/Lambda", "Throttles", "FunctionName", var.api.function_name, { stat = "Sum" }],
      ]
    },
    {
      title = "Functions: duration (ms, p95)"
      metrics = [
        ["AWS/Lambda", "Duration", "FunctionName", var.ingest.function_name, { stat = "p95" }],
        ["AWS/Lambda", "Duration", "FunctionName", var.api.function_name, { stat = "p95" }],
      ]
    },
    {
      title = "API: requests and errors"
      metrics = [
        ["AWS/ApiGateway", "Count", "ApiId", var.api.id, "Stage", var.api.stage_name, { stat = "Sum" }],
        ["AWS/ApiGateway", "4xx", "ApiId", var.api.id, "Stage", var.api.stage_name, { stat = "Sum" }],
        ["AWS/ApiGateway", "5xx", "ApiId", var.api.id, "Stage", var.api.stage_name, { stat = "Sum" }],
      ]
    },
    {
      title = "API: latency (ms)"
      metrics = [
        ["AWS/ApiGateway", "Latency", "ApiId", var.api.id, "Stage", var.api.stage_name, { stat = "p50" }],
        ["AWS/ApiGateway", "Latency", "ApiId", var.api.id, "Stage", var.api.stage_name, { stat = "p95" }],
      ]
    },
    {
      title   = "Database: CPU (%)"
      metrics = [["AWS/RDS", "CPUUtilization", "DBInstanceIdentifier", var.database.identifier, { stat = "Average" }]]
    },
    {
      title   = "Database: free disk (bytes)"
      metrics = [["AWS/RDS", "FreeStorageSpace", "DBInstanceIdentifier", var.database.identifier, { stat = "Minimum" }]]
    },
    {
      title   = "Database: connections"
      metrics = [["AWS/RDS", "DatabaseConnections", "DBInstanceIdentifier", var.database.identifier, { stat = "Maximum" }]]
    },
    {
      title = "Backups completed and failed"
      metrics = [
        ["AWS/Backup", "NumberOfBackupJobsCompleted", "BackupVaultName", var.backup.vault_name, { stat = "Sum" }],
        ["AWS/Backup", "NumberOfBackupJobsFailed", "BackupVaultName", var.backup.vault_name, { stat = "Sum" }],
      ]
    },
  ]
}

resource "aws_cloudwatch_dashboard" "this" {
  dashboard_name = var.name

  dashboard_body = jsonencode({
    widgets = [
      for index, widget in local.widgets : {
        type   = "metric"
        x      = 8 * (index % 3)
        y      = 6 * floor(index / 3)
        width  = 8
        height = 6
        properties = {
          title   = widget.title
          region  = var.region
          period  = 300
          view    = "timeSeries"
          metrics = widget.metrics
        }
      }
    ]
  })
}
