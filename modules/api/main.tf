locals {
  definition = jsondecode(file(var.definition))
  document   = yamldecode(file(var.openapi))

  methods = ["get", "put", "post", "delete", "options", "head", "patch"]

  # "GET /aggregated-data" => whether the document opens it to everybody.
  operations = merge([
    for path, item in local.document.paths : {
      for method, operation in item : "${upper(method)} ${path}" => {
        open = can(operation.security) ? length(operation.security) == 0 : false
      } if contains(local.methods, method)
    }
  ]...)

  # What can be got can also be asked for its headers alone.
  routes = merge(
    { for route, settings in local.operations : replace(route, "/^GET /", "HEAD ") => settings if startswith(route, "GET ") },
    local.operations,
  )

  authorization = { none = "NONE", iam = "AWS_IAM", jwt = "JWT" }[var.authorizer.type]
  access_group  = "/aws/vendedlogs/apigateway/${var.name}"
}

module "function" {
  source = "../function"

  name       = "${var.name}-api"
  account_id = var.account_id
  region     = var.region
  package    = var.package
  definition = var.definition

  environment = {
    GEODROP_DATABASE_URL = "postgresql://${local.definition.database_user}@${var.database.host}:${var.database.port}/${var.database.name}?sslmode=${var.database.sslmode}"
    GEODROP_ENV          = var.environment_name
    GEODROP_LOG_LEVEL    = "INFO"
    GEODROP_PUBLIC_URL   = var.public_url
  }

  network              = var.network
  database_resource_id = var.database.resource_id
  reserved_concurrency = var.reserved_concurrency
  logs                 = var.logs
  tracing              = var.tracing
  alarm_topic_arn      = var.alarm_topic_arn
}

resource "aws_apigatewayv2_api" "this" {
  name          = var.name
  description   = try(local.document.info.title, var.name)
  protocol_type = "HTTP"

  dynamic "cors_configuration" {
    for_each = length(var.cors_origins) > 0 ? [true] : []

    content {
      allow_origins  = var.cors_origins
      allow_methods  = sort(distinct([for route in keys(local.routes) : split(" ", route)[0]]))
      allow_headers  = var.authorizer.type == "none" ? ["if-none-match"] : ["authorization", "if-none-match", "x-amz-date", "x-amz-security-token"]
      expose_headers = ["etag", "link"]
      max_age        = 3600
    }
  }

  lifecycle {
    precondition {
      condition     = local.definition.timeout_s <= 29
      error_message = "${var.definition}: timeout_s must be at most 29, as API Gateway waits no longer than 30 s."
    }
  }
}

resource "aws_apigatewayv2_integration" "this" {
  api_id                 = aws_apigatewayv2_api.this.id
  description            = "The api function"
  integration_type       = "AWS_PROXY"
  integration_method     = "POST"
  integration_uri        = module.function.invoke_arn
  payload_format_version = "2.0"
  timeout_milliseconds   = min(30000, local.definition.timeout_s * 1000 + 1000)
}

resource "aws_apigatewayv2_authorizer" "jwt" {
  count = var.authorizer.type == "jwt" ? 1 : 0

  api_id           = aws_apigatewayv2_api.this.id
  name             = "jwt"
  authorizer_type  = "JWT"
  identity_sources = ["$request.header.Authorization"]

  jwt_configuration {
    issuer   = var.authorizer.issuer
    audience = var.authorizer.audiences
  }
}

resource "aws_apigatewayv2_route" "this" {
  #checkov:skip=CKV_AWS_309: Open data is read by everyone unless the environment sets an authorizer.
  for_each = local.routes

  api_id             = aws_apigatewayv2_api.this.id
  route_key          = each.key
  target             = "integrations/${aws_apigatewayv2_integration.this.id}"
  authorization_type = each.value.open ? "NONE" : local.authorization
  authorizer_id      = !each.value.open && var.authorizer.type == "jwt" ? aws_apigatewayv2_authorizer.jwt[0].id : null
}

resource "aws_cloudwatch_log_group" "access" {
  #checkov:skip=CKV_AWS_338: How long logs are kept is the environment's choice; the default is a year.
  name              = local.access_group
  retention_in_days = var.logs.retention_days
  kms_key_id        = var.logs.kms_key_arn
}

resource "aws_apigatewayv2_stage" "this" {
  api_id      = aws_apigatewayv2_api.this.id
  name        = var.environment_name
  description = "geodrop ${var.environment_name}"
  auto_deploy = true

  default_route_settings {
    throttling_rate_limit  = var.throttle.rate
    throttling_burst_limit = var.throttle.burst
  }

  access_log_settings {
    destination_arn = aws_cloudwatch_log_group.access.arn

    format = jsonencode({
      requestId        = "$context.requestId"
      time             = "$context.requestTime"
      ip               = "$context.identity.sourceIp"
      userAgent        = "$context.identity.userAgent"
      route            = "$context.routeKey"
      path             = "$context.path"
      status           = "$context.status"
      bytes            = "$context.responseLength"
      latencyMs        = "$context.responseLatency"
      functionMs       = "$context.integrationLatency"
      integrationError = "$context.integrationErrorMessage"
      authorizerError  = "$context.authorizer.error"
    })
  }
}

resource "aws_lambda_permission" "this" {
  statement_id  = "api"
  action        = "lambda:InvokeFunction"
  function_name = module.function.name
  principal     = "apigateway.amazonaws.com"
  source_arn    = "${aws_apigatewayv2_api.this.execution_arn}/${var.environment_name}/*"
}
