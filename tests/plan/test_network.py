"""Network: zones, ways out, and nothing admitted but functions -> database and functions -> HTTPS."""

import ipaddress
import json

import pytest

from tests.plan.inputs import ACCOUNT, REGION


@pytest.mark.parametrize(("call", "zones", "nats"), [("network", 2, 1), ("network_production", 3, 3)])
def test_zones_and_nat_gateways(plans, call, zones, nats):
    plan = plans[call]
    assert {kind: len(plan.of(kind)) for kind in ("aws_nat_gateway", "aws_eip", "aws_internet_gateway")} == {
        "aws_nat_gateway": nats,
        "aws_eip": nats,
        "aws_internet_gateway": 1,
    }
    for kind in ("public", "private", "database"):
        found = [subnet for address, subnet in plan.of("aws_subnet").items() if address.startswith(f"{kind}[")]
        assert len({subnet["availability_zone"] for subnet in found}) == len(found) == zones
        assert not any(subnet["map_public_ip_on_launch"] for subnet in found)


@pytest.mark.parametrize("call", ["network", "network_production"])
def test_subnets_lie_in_the_vpc_and_do_not_overlap(plans, call):
    vpc = ipaddress.ip_network(plans[call]["aws_vpc.this"]["cidr_block"])
    ranges = [ipaddress.ip_network(subnet["cidr_block"]) for subnet in plans[call].of("aws_subnet").values()]
    assert all(each.subnet_of(vpc) for each in ranges)
    assert not any(one.overlaps(other) for one in ranges for other in ranges if one is not other)


def test_only_the_private_subnets_have_a_way_out_and_only_the_public_ones_a_way_in(plans):
    plan = plans["network"]
    assert set(plan.of("aws_route")) == {
        "public_internet",
        f'private_nat["{REGION}a"]',
        f'private_nat["{REGION}b"]',
    }
    assert plan.references("aws_route.public_internet", "gateway_id") == {"aws_internet_gateway.this"}
    assert "aws_nat_gateway.this" in plan.references("aws_route.private_nat", "nat_gateway_id")
    assert plan.references("aws_route_table_association.database", "route_table_id") == {"aws_route_table.database"}
    assert plan["aws_route_table.database"]["tags"]["Name"].endswith("-database")
    # A gateway's subnet must be public, or nothing gets out.
    assert "aws_subnet.public" in plan.references("aws_nat_gateway.this", "subnet_id")


def test_the_default_security_group_is_closed(plans):
    group = plans["network"]["aws_default_security_group.this"]
    assert not group.get("ingress")
    assert not group.get("egress")


@pytest.mark.parametrize(("call", "endpoints"), [("network", False), ("network_production", True)])
def test_rules_admit_functions_to_the_database_and_to_https_alone(plans, call, endpoints):
    plan = plans[call]
    ways = {}
    for direction in ("ingress", "egress"):
        for address, rule in plan.of(f"aws_vpc_security_group_{direction}_rule").items():
            name = f"aws_vpc_security_group_{direction}_rule.{address.split('[')[0]}"
            (own,) = plan.references(name, "security_group_id")
            peers = plan.references(name, "referenced_security_group_id") or {rule["cidr_ipv4"]}
            assert rule["ip_protocol"] == "tcp"
            assert rule["from_port"] == rule["to_port"]
            ways[direction, own, *peers] = rule["to_port"]

    function, database, endpoint = (f"aws_security_group.{name}" for name in ("function", "database", "endpoint"))
    expected = {
        ("egress", function, database): 5432,
        ("ingress", database, function): 5432,
        ("egress", function, "0.0.0.0/0"): 443,
    }
    if endpoints:
        expected["ingress", endpoint, function] = 443
    assert ways == expected
    # No rule inside a group, which would fight with those outside.
    assert not any(group.get("ingress") or group.get("egress") for group in plan.of("aws_security_group").values())


def test_endpoints(plans):
    s3 = plans["network"]["aws_vpc_endpoint.s3"]
    assert (s3["vpc_endpoint_type"], s3["service_name"]) == ("Gateway", f"com.amazonaws.{REGION}.s3")
    (statement,) = json.loads(s3["policy"])["Statement"]
    assert statement["Condition"] == {"StringEquals": {"aws:ResourceAccount": ACCOUNT}}

    assert not any("interface" in address for address in plans["network"].resources)
    interfaces = {
        address: endpoint
        for address, endpoint in plans["network_production"].of("aws_vpc_endpoint").items()
        if endpoint["vpc_endpoint_type"] == "Interface"
    }
    assert set(interfaces) == {'interface["secretsmanager"]', 'interface["sqs"]'}
    assert all(endpoint["private_dns_enabled"] for endpoint in interfaces.values())


def test_flow_logs_go_to_an_encrypted_group_that_their_role_may_write(plans):
    plan = plans["network"]
    log = plan["aws_flow_log.this"]
    assert (log["traffic_type"], log["log_destination_type"]) == ("ALL", "cloud-watch-logs")
    assert plan.references("aws_flow_log.this", "log_destination") == {"aws_cloudwatch_log_group.flow"}
    assert plan.references("aws_cloudwatch_log_group.flow", "kms_key_id") == {"aws_kms_key.logs"}

    group = plan["aws_cloudwatch_log_group.flow"]["name"]
    write = plan.policy("aws_iam_role_policy.flow_log")["WriteOwnGroup"]
    arn = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{group}"
    assert set(write["Resource"]) == {arn, f"{arn}:*"}
    (trust,) = plan.policy("aws_iam_role.flow_log", "assume_role_policy").values()
    assert trust["Principal"] == {"Service": "vpc-flow-logs.amazonaws.com"}
    assert trust["Condition"] == {"StringEquals": {"aws:SourceAccount": ACCOUNT}}


def test_the_log_key_admits_cloudwatch_logs_for_this_account(plans):
    statement = plans["network"].policy("aws_kms_key.logs")["CloudWatchLogs"]
    assert statement["Principal"] == {"Service": f"logs.{REGION}.amazonaws.com"}
    assert {"kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"} == set(
        statement["Action"]
    )
    assert statement["Condition"] == {
        "ArnLike": {"kms:EncryptionContext:aws:logs:arn": f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:*"}
    }
