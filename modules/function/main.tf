data "aws_partition" "current" {}

locals {
  definition = jsondecode(file(var.definition))

  partition     = data.aws_partition.current.partition
  function_arn  = "arn:${local.partition}:lambda:${var.region}:${var.account_id}:function:${var.name}"
  log_group     = "/aws/lambda/${var.name}"
  log_group_arn = "arn:${local.partition}:logs:${var.region}:${var.account_id}:log-group:${local.log_group}"

  # What Lambda asks of the role of a function in a VPC.
  interface_actions = [
    "ec2:AssignPrivateIpAddresses",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:UnassignPrivateIpAddresses",
  ]

  alarms = {
    errors = {
      description = "An execution failed or ran out of time."
      metric      = "Errors"
      statistic   = "Sum"
      threshold   = 1
      periods     = 1
    }
    throttles = {
      description = "Executions were refused for lack of concurrency, for 15 minutes on end."
      metric      = "Throttles"
      statistic   = "Sum"
      threshold   = 1
      periods     = 3
    }
    duration = {
      description = "An execution took more than 80 % of its ${local.definition.timeout_s} s."
      metric      = "Duration"
      statistic   = "Maximum"
      threshold   = local.definition.timeout_s * 1000 * 0.8
      periods     = 1
    }
  }
}

resource "aws_cloudwatch_log_group" "this" {
  #checkov:skip=CKV_AWS_338: How long logs are kept is the environment's choice; the default is a year.
  name              = local.log_group
  retention_in_days = var.logs.retention_days
  kms_key_id        = var.logs.kms_key_arn
}

data "aws_iam_policy_document" "trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["lambda.amazonaws.com"]
    }
  }
}

data "aws_iam_policy_document" "base" {
  #checkov:skip=CKV_AWS_111: Lambda checks the network-interface rights on every resource; the function's own code is denied them below.
  #checkov:skip=CKV_AWS_356: Lambda checks the network-interface rights on every resource, and X-Ray knows no resources.
  statement {
    sid       = "Log"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${local.log_group_arn}:*"]
  }

  statement {
    sid       = "LambdaInterfaces"
    actions   = local.interface_actions
    resources = ["*"]
  }

  # The rights above are for the Lambda service; code inside the function must not use them.
  statement {
    sid       = "CodeInterfaces"
    effect    = "Deny"
    actions   = local.interface_actions
    resources = ["*"]

    condition {
      test     = "ArnEquals"
      variable = "lambda:SourceFunctionArn"
      values   = [local.function_arn]
    }
  }

  dynamic "statement" {
    for_each = var.tracing == "Active" ? [true] : []

    content {
      sid       = "Trace"
      actions   = ["xray:PutTraceSegments", "xray:PutTelemetryRecords"]
      resources = ["*"]
    }
  }

  dynamic "statement" {
    for_each = var.database_resource_id == "" ? [] : [true]

    content {
      sid       = "SignIn"
      actions   = ["rds-db:connect"]
      resources = ["arn:${local.partition}:rds-db:${var.region}:${var.account_id}:dbuser:${var.database_resource_id}/${local.definition.database_user}"]
    }
  }
}

data "aws_iam_policy_document" "own" {
  count = length(var.statements) > 0 ? 1 : 0

  dynamic "statement" {
    for_each = var.statements

    content {
      sid       = statement.value.sid
      actions   = statement.value.actions
      resources = statement.value.resources

      dynamic "condition" {
        for_each = statement.value.conditions

        content {
          test     = condition.value.test
          variable = condition.value.variable
          values   = condition.value.values
        }
      }
    }
  }
}

resource "aws_iam_role" "this" {
  name               = var.name
  description        = "Function ${var.name}"
  assume_role_policy = data.aws_iam_policy_document.trust.json
}

resource "aws_iam_role_policy" "base" {
  #checkov:skip=CKV_AWS_290: Network interfaces and traces have no names beforehand; the code itself is denied the former.
  name   = "base"
  role   = aws_iam_role.this.id
  policy = data.aws_iam_policy_document.base.json
}

resource "aws_iam_role_policy" "own" {
  count = length(var.statements) > 0 ? 1 : 0

  name   = "own"
  role   = aws_iam_role.this.id
  policy = data.aws_iam_policy_document.own[0].json
}

resource "aws_lambda_function" "this" {
  #checkov:skip=CKV_AWS_115: Concurrency is the caller's choice: a new account has too little to reserve any.
  #checkov:skip=CKV_AWS_116: Every caller waits for the answer; what fails in the queue has the queue's dead-letter queue.
  #checkov:skip=CKV_AWS_173: The environment holds no secret, and AWS encrypts it with a key of its own.
  #checkov:skip=CKV_AWS_272: The zip is built from this repository and checked by its hash; signing needs a profile per account.
  function_name = var.name
  description   = local.definition.description
  role          = aws_iam_role.this.arn

  package_type     = "Zip"
  filename         = var.package
  source_code_hash = filebase64sha256(var.package)
  handler          = local.definition.handler
  runtime          = local.definition.runtime
  architectures    = [local.definition.architecture]
  memory_size      = local.definition.memory_mb
  timeout          = local.definition.timeout_s

  reserved_concurrent_executions = var.reserved_concurrency

  environment {
    variables = var.environment
  }

  vpc_config {
    subnet_ids         = var.network.subnet_ids
    security_group_ids = [var.network.security_group_id]
  }

  tracing_config {
    mode = var.tracing
  }

  logging_config {
    log_format = "Text" # the code writes JSON lines itself
    log_group  = aws_cloudwatch_log_group.this.name
  }

  # Lambda refuses a role without the interface rights, and would make a log group of its own.
  depends_on = [
    aws_cloudwatch_log_group.this,
    aws_iam_role_policy.base,
    aws_iam_role_policy.own,
  ]

  lifecycle {
    precondition {
      condition     = toset(keys(var.environment)) == toset(local.definition.environment)
      error_message = "The environment set for ${var.name} (${join(", ", sort(keys(var.environment)))}) is not the one that ${var.definition} names (${join(", ", sort(local.definition.environment))})."
    }

    precondition {
      condition     = local.definition.memory_mb >= 128 && local.definition.memory_mb <= 10240 && local.definition.timeout_s >= 1 && local.definition.timeout_s <= 900
      error_message = "${var.definition}: memory_mb must be 128 to 10240 and timeout_s 1 to 900."
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each = local.alarms

  alarm_name        = "${var.name}-function-${each.key}"
  alarm_description = "${each.value.description} Runbook: docs/runbooks/function-${each.key}.md"

  namespace           = "AWS/Lambda"
  metric_name         = each.value.metric
  dimensions          = { FunctionName = aws_lambda_function.this.function_name }
  statistic           = each.value.statistic
  period              = 300
  evaluation_periods  = each.value.periods
  comparison_operator = "GreaterThanOrEqualToThreshold"
  threshold           = each.value.threshold
  treat_missing_data  = "notBreaching"

  alarm_actions = [var.alarm_topic_arn]
  ok_actions    = [var.alarm_topic_arn]
}
