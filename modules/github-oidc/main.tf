data "aws_partition" "current" {}

locals {
  partition    = data.aws_partition.current.partition
  host         = "token.actions.githubusercontent.com"
  provider_arn = "arn:${local.partition}:iam::${var.account_id}:oidc-provider/${local.host}"
  bucket_arn   = "arn:${local.partition}:s3:::${var.state_bucket}"

  plan_name  = "${var.name}-github-plan"
  apply_name = "${var.name}-github-apply"

  # GitHub writes where a workflow runs into the token's subject: of a job with an environment the environment, else
  # that it is a pull request, else the branch.
  plan_subjects = ["repo:${var.repository}:pull_request", "repo:${var.repository}:ref:refs/heads/${var.main_branch}"]
  apply_subject = var.apply_from.environment != "" ? "repo:${var.repository}:environment:${var.apply_from.environment}" : "repo:${var.repository}:ref:refs/heads/${var.apply_from.branch}"

  own_arns = [
    "arn:${local.partition}:iam::${var.account_id}:role/${local.plan_name}",
    "arn:${local.partition}:iam::${var.account_id}:role/${local.apply_name}",
    local.provider_arn,
  ]
}

resource "aws_iam_openid_connect_provider" "this" {
  count = var.create_provider ? 1 : 0

  url            = "https://${local.host}"
  client_id_list = ["sts.amazonaws.com"]

  # AWS trusts GitHub's certificates by their authority and ignores these; older providers ask for them.
  thumbprint_list = ["6938fd4d98bab03faadb97b34396831e3780aea1", "1c58a3a8518e8759bf075b76b750d4f2df264fcd"]
}

data "aws_iam_policy_document" "trust" {
  #checkov:skip=CKV_AWS_358: The subjects are exact and begin with the repository; checkov cannot read them from for_each.
  for_each = {
    plan  = local.plan_subjects
    apply = [local.apply_subject]
  }

  statement {
    actions = ["sts:AssumeRoleWithWebIdentity"]

    principals {
      type        = "Federated"
      identifiers = [local.provider_arn]
    }

    condition {
      test     = "StringEquals"
      variable = "${local.host}:aud"
      values   = ["sts.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "${local.host}:sub"
      values   = each.value
    }
  }
}

# Plan: sees how everything is set up, and of the data only the Terraform state

resource "aws_iam_role" "plan" {
  name                 = local.plan_name
  description          = "Terraform plans of ${var.repository}: pull requests, and drift on ${var.main_branch}"
  assume_role_policy   = data.aws_iam_policy_document.trust["plan"].json
  max_session_duration = 3600

  depends_on = [aws_iam_openid_connect_provider.this]
}

resource "aws_iam_role_policy_attachment" "plan" {
  role       = aws_iam_role.plan.name
  policy_arn = "arn:${local.partition}:iam::aws:policy/ReadOnlyAccess"
}

data "aws_iam_policy_document" "plan" {
  statement {
    sid       = "ReadState"
    actions   = ["s3:GetObject", "s3:ListBucket"]
    resources = [local.bucket_arn, "${local.bucket_arn}/*"]
  }

  statement {
    sid       = "DecryptState"
    actions   = ["kms:Decrypt"]
    resources = ["arn:${local.partition}:kms:*:${var.account_id}:key/*"]

    condition {
      test     = "StringLike"
      variable = "kms:EncryptionContext:aws:s3:arn"
      values   = [local.bucket_arn, "${local.bucket_arn}/*"]
    }
  }

  statement {
    sid           = "NoOtherObjects"
    effect        = "Deny"
    actions       = ["s3:GetObject", "s3:GetObjectVersion"]
    not_resources = ["${local.bucket_arn}/*"]
  }

  statement {
    sid    = "NoOtherData"
    effect = "Deny"

    actions = [
      "lambda:InvokeFunction",
      "logs:FilterLogEvents",
      "logs:GetLogEvents",
      "logs:StartLiveTail",
      "logs:StartQuery",
      "rds-db:connect",
      "secretsmanager:GetSecretValue",
      "sqs:ReceiveMessage",
      "ssm:GetParameter*",
    ]

    resources = ["*"]
  }
}

resource "aws_iam_role_policy" "plan" {
  name   = "state-and-no-other-data"
  role   = aws_iam_role.plan.id
  policy = data.aws_iam_policy_document.plan.json
}

# Apply: everything that the environment is made of, and of IAM only the environment's own roles

resource "aws_iam_role" "apply" {
  name                 = local.apply_name
  description          = "Terraform applies from ${local.apply_subject}"
  assume_role_policy   = data.aws_iam_policy_document.trust["apply"].json
  max_session_duration = 7200

  depends_on = [aws_iam_openid_connect_provider.this]
}

resource "aws_iam_role_policy_attachment" "apply" {
  role       = aws_iam_role.apply.name
  policy_arn = "arn:${local.partition}:iam::aws:policy/PowerUserAccess"
}

data "aws_iam_policy_document" "apply" {
  #checkov:skip=CKV_AWS_356: Reading IAM names no resource; writing is limited to the environment's own roles.
  statement {
    sid       = "ReadIam"
    actions   = ["iam:Get*", "iam:List*"]
    resources = ["*"]
  }

  statement {
    sid = "OwnRoles"

    actions = [
      "iam:CreateRole",
      "iam:DeleteRole",
      "iam:DeleteRolePolicy",
      "iam:PutRolePolicy",
      "iam:TagRole",
      "iam:UntagRole",
      "iam:UpdateAssumeRolePolicy",
      "iam:UpdateRole",
      "iam:UpdateRoleDescription",
    ]

    resources = ["arn:${local.partition}:iam::${var.account_id}:role/${var.name}-*"]
  }

  statement {
    sid       = "ManagedPoliciesOfServices"
    actions   = ["iam:AttachRolePolicy", "iam:DetachRolePolicy"]
    resources = ["arn:${local.partition}:iam::${var.account_id}:role/${var.name}-*"]

    condition {
      test     = "ArnLike"
      variable = "iam:PolicyARN"

      values = [
        "arn:${local.partition}:iam::aws:policy/AWSBackupServiceRolePolicyFor*",
        "arn:${local.partition}:iam::aws:policy/service-role/AWSBackupServiceRolePolicyFor*",
        "arn:${local.partition}:iam::aws:policy/service-role/AmazonRDSEnhancedMonitoringRole",
      ]
    }
  }

  statement {
    sid       = "PassOwnRoles"
    actions   = ["iam:PassRole"]
    resources = ["arn:${local.partition}:iam::${var.account_id}:role/${var.name}-*"]

    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"

      values = [
        "backup.amazonaws.com",
        "lambda.amazonaws.com",
        "monitoring.rds.amazonaws.com",
        "rds.amazonaws.com",
        "scheduler.amazonaws.com",
        "vpc-flow-logs.amazonaws.com",
      ]
    }
  }

  statement {
    sid         = "NotItself"
    effect      = "Deny"
    not_actions = ["iam:Get*", "iam:List*"]
    resources   = local.own_arns
  }
}

resource "aws_iam_role_policy" "apply" {
  #checkov:skip=CKV_AWS_355: Reading IAM has no narrower resource; what changes roles is bound to the environment's names.
  name   = "own-roles"
  role   = aws_iam_role.apply.id
  policy = data.aws_iam_policy_document.apply.json
}
