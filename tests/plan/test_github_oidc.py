"""GitHub's roles: no other repository, no other place, and no data for plans."""

import fnmatch

import pytest

from tests.plan.inputs import ACCOUNT, ENVIRONMENT, INPUTS, NAME

HOST = "token.actions.githubusercontent.com"
PROVIDER = f"arn:aws:iam::{ACCOUNT}:oidc-provider/{HOST}"
STATE = f"arn:aws:s3:::{INPUTS['github-oidc']['state_bucket']}"


def admits(plan, role, subject, audience="sts.amazonaws.com"):
    """Say whether a role's trust lets a token of GitHub with this subject and audience in."""
    (statement,) = plan.policy(f"aws_iam_role.{role}", "assume_role_policy").values()
    assert statement["Action"] == "sts:AssumeRoleWithWebIdentity"
    assert statement["Principal"] == {"Federated": PROVIDER}
    token = {f"{HOST}:aud": audience, f"{HOST}:sub": subject}
    assert statement["Condition"].keys() == {"StringEquals"}
    assert statement["Condition"]["StringEquals"].keys() == token.keys()
    return all(token[name] in listed(value) for name, value in statement["Condition"]["StringEquals"].items())


@pytest.mark.parametrize(
    ("subject", "roles"),
    [
        ("repo:acme/geodrop:pull_request", {"plan"}),
        ("repo:acme/geodrop:ref:refs/heads/trunk", {"plan"}),  # the nightly look for drift
        (f"repo:acme/geodrop:environment:{ENVIRONMENT}", {"apply"}),
        ("repo:acme/geodrop:environment:prod", set()),
        ("repo:acme/geodrop:environment:staging2", set()),
        ("repo:acme/geodrop:ref:refs/heads/main", set()),
        ("repo:acme/geodrop:ref:refs/heads/trunk2", set()),
        ("repo:acme/geodrop:ref:refs/tags/trunk", set()),
        ("repo:acme/geodrop2:pull_request", set()),
        ("repo:acme/geodrop2:ref:refs/heads/trunk", set()),
        (f"repo:acme/geodrop2:environment:{ENVIRONMENT}", set()),
        ("repo:evil/geodrop:pull_request", set()),
        (f"repo:evil/geodrop:environment:{ENVIRONMENT}", set()),
        ("repo:acme/geodrop", set()),
    ],
)
def test_who_is_admitted(plans, subject, roles):
    plan = plans["github_oidc"]
    assert {role for role in ("plan", "apply") if admits(plan, role, subject)} == roles
    assert not any(admits(plan, role, subject, "https://github.com/acme") for role in ("plan", "apply"))


def test_apply_from_a_branch(plans):
    plan = plans["github_oidc_branch"]
    assert admits(plan, "apply", "repo:acme/geodrop:ref:refs/heads/main")
    assert not admits(plan, "apply", "repo:acme/geodrop:ref:refs/heads/main2")
    assert not admits(plan, "apply", "repo:acme/geodrop:environment:main")
    assert not plan.of("aws_iam_openid_connect_provider"), "the account has it already"
    assert plans["github_oidc"].one("aws_iam_openid_connect_provider")["client_id_list"] == ["sts.amazonaws.com"]


def test_plan_reads_the_setup_and_of_the_data_only_the_state(plans):
    plan = plans["github_oidc"]
    assert plan["aws_iam_role_policy_attachment.plan"]["policy_arn"] == "arn:aws:iam::aws:policy/ReadOnlyAccess"
    rights = plan.policy("aws_iam_role_policy.plan")
    assert set(rights["ReadState"]["Resource"]) == {STATE, f"{STATE}/*"}
    assert rights["NoOtherObjects"]["Effect"] == rights["NoOtherData"]["Effect"] == "Deny"
    assert rights["NoOtherObjects"]["NotResource"] == f"{STATE}/*"
    denied = set(rights["NoOtherData"]["Action"])
    assert {"secretsmanager:GetSecretValue", "rds-db:connect", "sqs:ReceiveMessage"} <= denied
    allowed = {action for right in rights.values() if right["Effect"] == "Allow" for action in listed(right["Action"])}
    assert allowed == {"s3:GetObject", "s3:ListBucket", "kms:Decrypt"}
    of_state = {"StringLike": {"kms:EncryptionContext:aws:s3:arn": [STATE, f"{STATE}/*"]}}
    assert rights["DecryptState"]["Condition"] == of_state


def test_apply_changes_no_role_but_the_environment_s_and_never_its_own(plans):
    plan = plans["github_oidc"]
    assert plan["aws_iam_role_policy_attachment.apply"]["policy_arn"] == "arn:aws:iam::aws:policy/PowerUserAccess"
    rights = plan.policy("aws_iam_role_policy.apply")
    own = f"arn:aws:iam::{ACCOUNT}:role/{NAME}-*"
    for name, right in rights.items():
        if right["Effect"] == "Allow" and name != "ReadIam":
            assert right["Resource"] == own, name
    assert set(listed(rights["NotItself"]["Resource"])) == {
        f"arn:aws:iam::{ACCOUNT}:role/{NAME}-github-plan",
        f"arn:aws:iam::{ACCOUNT}:role/{NAME}-github-apply",
        PROVIDER,
    }
    assert rights["NotItself"]["Effect"] == "Deny"
    assert set(rights["NotItself"]["NotAction"]) == {"iam:Get*", "iam:List*"}
    attachable = listed(rights["ManagedPoliciesOfServices"]["Condition"]["ArnLike"]["iam:PolicyARN"])
    assert not any(fnmatch.fnmatch("arn:aws:iam::aws:policy/AdministratorAccess", each) for each in attachable)


def test_apply_may_do_what_the_modules_ask_of_iam(plans):
    rights = plans["github_oidc"].policy("aws_iam_role_policy.apply")
    attachable = listed(rights["ManagedPoliciesOfServices"]["Condition"]["ArnLike"]["iam:PolicyARN"])
    passed = set(listed(rights["PassOwnRoles"]["Condition"]["StringEquals"]["iam:PassedToService"]))
    for call in ("network", "database_production", "schema", "ingest", "api", "backup_production"):
        plan = plans[call]
        for address, role in plan.of("aws_iam_role").items():
            assert role["name"].startswith(f"{NAME}-")
            kind = "module.function.aws_iam_role.this" if address.startswith("module.") else f"aws_iam_role.{address}"
            (trust,) = plan.policy(kind, "assume_role_policy").values()
            assert trust["Principal"]["Service"] in passed, address
        for attachment in plan.of("aws_iam_role_policy_attachment").values():
            assert any(fnmatch.fnmatch(attachment["policy_arn"], each) for each in attachable), attachment["policy_arn"]


def listed(value):
    return [value] if isinstance(value, str) else value
