data "aws_partition" "current" {}

locals {
  # The VPC's range in sixteenths: 0-2 private, 4-6 public, 8-10 database. A zone keeps its place.
  place     = { for index, zone in var.zones : zone => index }
  nat_zones = var.nat_per_zone ? var.zones : slice(var.zones, 0, 1)

  flow_log_group     = "/aws/vpc/${var.name}/flow-logs"
  flow_log_group_arn = "arn:${data.aws_partition.current.partition}:logs:${var.region}:${var.account_id}:log-group:${local.flow_log_group}"
}

resource "aws_vpc" "this" {
  cidr_block           = var.cidr
  enable_dns_hostnames = true
  enable_dns_support   = true

  tags = { Name = var.name }

  lifecycle {
    precondition {
      condition     = alltrue([for zone in var.zones : can(regex("^${var.region}[a-z]$", zone))])
      error_message = "zones must all be zones of the region, such as ${var.region}a."
    }

    precondition {
      condition     = !var.production || var.nat_per_zone
      error_message = "In production nat_per_zone must be true: one zone's failure must not cut off the others."
    }
  }
}

# Nothing uses the default group; without rules, nothing can.
resource "aws_default_security_group" "this" {
  vpc_id = aws_vpc.this.id

  tags = { Name = "${var.name}-closed" }
}

# Subnets and their ways out

resource "aws_internet_gateway" "this" {
  vpc_id = aws_vpc.this.id

  tags = { Name = var.name }
}

resource "aws_subnet" "public" {
  for_each = local.place

  vpc_id                  = aws_vpc.this.id
  availability_zone       = each.key
  cidr_block              = cidrsubnet(var.cidr, 4, 4 + each.value)
  map_public_ip_on_launch = false

  tags = { Name = "${var.name}-public-${each.key}" }
}

resource "aws_subnet" "private" {
  for_each = local.place

  vpc_id            = aws_vpc.this.id
  availability_zone = each.key
  cidr_block        = cidrsubnet(var.cidr, 4, each.value)

  tags = { Name = "${var.name}-private-${each.key}" }

  # Lambda gives its network interfaces back up to 40 minutes after the last function is gone.
  timeouts {
    delete = "45m"
  }
}

resource "aws_subnet" "database" {
  for_each = local.place

  vpc_id            = aws_vpc.this.id
  availability_zone = each.key
  cidr_block        = cidrsubnet(var.cidr, 4, 8 + each.value)

  tags = { Name = "${var.name}-database-${each.key}" }
}

resource "aws_eip" "nat" {
  #checkov:skip=CKV2_AWS_19: The address belongs to a NAT gateway, not to a server.
  for_each = toset(local.nat_zones)

  domain = "vpc"

  tags = { Name = "${var.name}-nat-${each.key}" }

  depends_on = [aws_internet_gateway.this]
}

resource "aws_nat_gateway" "this" {
  for_each = toset(local.nat_zones)

  allocation_id = aws_eip.nat[each.key].id
  subnet_id     = aws_subnet.public[each.key].id

  tags = { Name = "${var.name}-${each.key}" }

  depends_on = [aws_internet_gateway.this]
}

resource "aws_route_table" "public" {
  vpc_id = aws_vpc.this.id

  tags = { Name = "${var.name}-public" }
}

resource "aws_route" "public_internet" {
  route_table_id         = aws_route_table.public.id
  destination_cidr_block = "0.0.0.0/0"
  gateway_id             = aws_internet_gateway.this.id
}

resource "aws_route_table_association" "public" {
  for_each = local.place

  subnet_id      = aws_subnet.public[each.key].id
  route_table_id = aws_route_table.public.id
}

resource "aws_route_table" "private" {
  for_each = local.place

  vpc_id = aws_vpc.this.id

  tags = { Name = "${var.name}-private-${each.key}" }
}

resource "aws_route" "private_nat" {
  for_each = local.place

  route_table_id         = aws_route_table.private[each.key].id
  destination_cidr_block = "0.0.0.0/0"
  nat_gateway_id         = aws_nat_gateway.this[var.nat_per_zone ? each.key : local.nat_zones[0]].id
}

resource "aws_route_table_association" "private" {
  for_each = local.place

  subnet_id      = aws_subnet.private[each.key].id
  route_table_id = aws_route_table.private[each.key].id
}

# No route but the VPC's own: the database cannot be reached from outside, nor reach out.
resource "aws_route_table" "database" {
  vpc_id = aws_vpc.this.id

  tags = { Name = "${var.name}-database" }
}

resource "aws_route_table_association" "database" {
  for_each = local.place

  subnet_id      = aws_subnet.database[each.key].id
  route_table_id = aws_route_table.database.id
}

# Security groups: functions -> database, functions -> 443. Each way in has its way out.

resource "aws_security_group" "function" {
  #checkov:skip=CKV2_AWS_5: The functions of other modules take this group.
  name        = "${var.name}-function"
  description = "Functions: out to the database and to HTTPS, nothing in"
  vpc_id      = aws_vpc.this.id

  tags = { Name = "${var.name}-function" }

  # As the private subnets: Lambda's network interfaces hold it for a while.
  timeouts {
    delete = "45m"
  }
}

resource "aws_security_group" "database" {
  #checkov:skip=CKV2_AWS_5: The database module's instance takes this group.
  name        = "${var.name}-database"
  description = "Database: in from the functions, nothing out"
  vpc_id      = aws_vpc.this.id

  tags = { Name = "${var.name}-database" }
}

resource "aws_vpc_security_group_egress_rule" "function_database" {
  security_group_id            = aws_security_group.function.id
  description                  = "PostgreSQL"
  referenced_security_group_id = aws_security_group.database.id
  ip_protocol                  = "tcp"
  from_port                    = var.database_port
  to_port                      = var.database_port
}

resource "aws_vpc_security_group_ingress_rule" "database_function" {
  security_group_id            = aws_security_group.database.id
  description                  = "PostgreSQL from the functions"
  referenced_security_group_id = aws_security_group.function.id
  ip_protocol                  = "tcp"
  from_port                    = var.database_port
  to_port                      = var.database_port
}

resource "aws_vpc_security_group_egress_rule" "function_https" {
  security_group_id = aws_security_group.function.id
  description       = "AWS services over HTTPS: S3 by its gateway endpoint, others by NAT or interface endpoints"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

# Endpoints

resource "aws_vpc_endpoint" "s3" {
  vpc_id            = aws_vpc.this.id
  service_name      = "com.amazonaws.${var.region}.s3"
  vpc_endpoint_type = "Gateway"
  route_table_ids   = [for zone in var.zones : aws_route_table.private[zone].id]

  # A function that was taken over cannot carry data off to somebody else's bucket.
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "OwnBucketsOnly"
      Effect    = "Allow"
      Principal = "*"
      Action    = "s3:*"
      Resource  = "*"
      Condition = { StringEquals = { "aws:ResourceAccount" = var.account_id } }
    }]
  })

  tags = { Name = "${var.name}-s3" }
}

resource "aws_security_group" "endpoint" {
  count = length(var.interface_endpoints) > 0 ? 1 : 0

  name        = "${var.name}-endpoint"
  description = "Interface endpoints: HTTPS in from the functions, nothing out"
  vpc_id      = aws_vpc.this.id

  tags = { Name = "${var.name}-endpoint" }
}

resource "aws_vpc_security_group_ingress_rule" "endpoint_function" {
  count = length(var.interface_endpoints) > 0 ? 1 : 0

  security_group_id            = aws_security_group.endpoint[0].id
  description                  = "HTTPS from the functions"
  referenced_security_group_id = aws_security_group.function.id
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443
}

resource "aws_vpc_endpoint" "interface" {
  for_each = var.interface_endpoints

  vpc_id              = aws_vpc.this.id
  service_name        = "com.amazonaws.${var.region}.${each.key}"
  vpc_endpoint_type   = "Interface"
  private_dns_enabled = true
  subnet_ids          = [for zone in var.zones : aws_subnet.private[zone].id]
  security_group_ids  = [aws_security_group.endpoint[0].id]

  tags = { Name = "${var.name}-${each.key}" }
}

# Logs: one key for all log groups of the environment, and the flow logs

resource "aws_kms_key" "logs" {
  description             = "${var.name}: logs"
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
        Sid       = "CloudWatchLogs"
        Effect    = "Allow"
        Principal = { Service = "logs.${var.region}.amazonaws.com" }
        Action    = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"]
        Resource  = "*"
        Condition = {
          ArnLike = {
            "kms:EncryptionContext:aws:logs:arn" = "arn:${data.aws_partition.current.partition}:logs:${var.region}:${var.account_id}:log-group:*"
          }
        }
      },
    ]
  })
}

resource "aws_kms_alias" "logs" {
  name          = "alias/${var.name}-logs"
  target_key_id = aws_kms_key.logs.key_id
}

resource "aws_cloudwatch_log_group" "flow" {
  #checkov:skip=CKV_AWS_338: How long logs are kept is the environment's choice; the default is a year.
  name              = local.flow_log_group
  retention_in_days = var.log_retention_days
  kms_key_id        = aws_kms_key.logs.arn
}

data "aws_iam_policy_document" "flow_log_trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["vpc-flow-logs.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [var.account_id]
    }
  }
}

data "aws_iam_policy_document" "flow_log" {
  statement {
    sid       = "WriteOwnGroup"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"]
    resources = [local.flow_log_group_arn, "${local.flow_log_group_arn}:*"]
  }

  statement {
    sid       = "FindGroup"
    actions   = ["logs:DescribeLogGroups"]
    resources = ["arn:${data.aws_partition.current.partition}:logs:${var.region}:${var.account_id}:log-group:*"]
  }
}

resource "aws_iam_role" "flow_log" {
  name               = "${var.name}-flow-log"
  description        = "VPC flow logs of ${var.name}"
  assume_role_policy = data.aws_iam_policy_document.flow_log_trust.json
}

resource "aws_iam_role_policy" "flow_log" {
  name   = "write"
  role   = aws_iam_role.flow_log.id
  policy = data.aws_iam_policy_document.flow_log.json
}

resource "aws_flow_log" "this" {
  vpc_id                   = aws_vpc.this.id
  traffic_type             = "ALL"
  log_destination_type     = "cloud-watch-logs"
  log_destination          = aws_cloudwatch_log_group.flow.arn
  iam_role_arn             = aws_iam_role.flow_log.arn
  max_aggregation_interval = 600

  tags = { Name = var.name }

  depends_on = [aws_iam_role_policy.flow_log]
}
