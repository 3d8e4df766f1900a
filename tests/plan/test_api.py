"""API: the routes of the OpenAPI document, one stage, and an authorizer by input."""

import json
from pathlib import Path

import yaml

from tests.plan.inputs import ENVIRONMENT, KEY, NAME, OPENAPI

METHODS = {"get", "put", "post", "delete", "options", "head", "patch"}


def test_every_operation_of_the_document_is_a_route(plans):
    paths = yaml.safe_load(Path(OPENAPI).read_text())["paths"]
    operations = {f"{method.upper()} {path}" for path, item in paths.items() for method in METHODS & item.keys()}
    heads = {operation.replace("GET", "HEAD", 1) for operation in operations if operation.startswith("GET ")}
    assert {route["route_key"] for route in plans["api"].of("aws_apigatewayv2_route").values()} == operations | heads
    assert {route["route_key"] for route in plans["api_jwt"].of("aws_apigatewayv2_route").values()} == {
        "GET /things/{id}",
        "HEAD /things/{id}",
        "DELETE /things/{id}",
        "GET /health",
        "HEAD /health",
    }


def test_who_may_call_is_the_authorizer_s_say(plans):
    def authorization(call):
        routes = plans[call].of("aws_apigatewayv2_route").values()
        return {route["route_key"]: route["authorization_type"] for route in routes}

    assert set(authorization("api").values()) == {"NONE"}
    assert set(authorization("api_iam").values()) == {"AWS_IAM"}
    assert authorization("api_jwt") == {
        "GET /things/{id}": "JWT",
        "HEAD /things/{id}": "JWT",
        "DELETE /things/{id}": "JWT",
        "GET /health": "NONE",
        "HEAD /health": "NONE",
    }
    (jwt,) = plans["api_jwt"].one("aws_apigatewayv2_authorizer")["jwt_configuration"]
    assert (jwt["issuer"], jwt["audience"]) == ("https://id.example.org", ["geodrop"])
    assert not plans["api"].of("aws_apigatewayv2_authorizer")


def test_the_stage_is_named_after_the_environment_and_throttled(plans):
    stage = plans["api"]["aws_apigatewayv2_stage.this"]
    assert (stage["name"], stage["auto_deploy"]) == (ENVIRONMENT, True)
    (settings,) = stage["default_route_settings"]
    assert (settings["throttling_rate_limit"], settings["throttling_burst_limit"]) == (50, 100)


def test_access_logs_are_encrypted_and_name_the_request(plans):
    plan = plans["api"]
    group = plan["aws_cloudwatch_log_group.access"]
    # Groups under /aws/vendedlogs/ need no room in the account's one policy for log deliveries.
    assert group["name"] == f"/aws/vendedlogs/apigateway/{NAME}"
    assert (group["kms_key_id"], group["retention_in_days"]) == (KEY, 30)
    assert "aws_cloudwatch_log_group.access" in plan.references("aws_apigatewayv2_stage.this", "access_log_settings")
    (settings,) = plan["aws_apigatewayv2_stage.this"]["access_log_settings"]
    assert {"requestId", "status", "latencyMs", "route", "integrationError"} <= json.loads(settings["format"]).keys()


def test_only_this_stage_may_invoke_the_function(plans):
    permission = plans["api"]["aws_lambda_permission.this"]
    assert (permission["principal"], permission["action"]) == ("apigateway.amazonaws.com", "lambda:InvokeFunction")
    assert plans["api"].references("aws_lambda_permission.this", "source_arn") == {
        "aws_apigatewayv2_api.this",
        "var.environment_name",
    }


def test_the_api_waits_longer_than_the_function_may_take(plans):
    integration = plans["api"].one("aws_apigatewayv2_integration")
    timeout = plans["api"]["module.function.aws_lambda_function.this"]["timeout"]
    assert timeout * 1000 < integration["timeout_milliseconds"] <= 30000
    assert (integration["integration_type"], integration["payload_format_version"]) == ("AWS_PROXY", "2.0")


def test_cors_by_input(plans):
    assert not plans["api"]["aws_apigatewayv2_api.this"]["cors_configuration"]
    (cors,) = plans["api_jwt"]["aws_apigatewayv2_api.this"]["cors_configuration"]
    assert cors["allow_origins"] == ["https://map.example.org"]
    assert set(cors["allow_methods"]) == {"GET", "HEAD", "DELETE"}
    assert "authorization" in cors["allow_headers"]


def test_the_address_that_links_begin_with(plans):
    variables = plans["api_jwt"]["module.function.aws_lambda_function.this"]["environment"][0]["variables"]
    assert variables["GEODROP_PUBLIC_URL"] == "https://geo.example.org"
