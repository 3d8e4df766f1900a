"""Tools that some tests need and a laptop may lack.

`require("terragrunt")` skips the test where the tool is missing and says so. Where GEODROP_REQUIRE names the tool
(GEODROP_REQUIRE=terragrunt,provider), a missing tool fails the test instead: CI cannot pass by lacking something.
"""

import os
import shutil

import pytest

from local.doctor import provider

# Terraform, or OpenTofu's tofu, by the variable that Terragrunt reads.
TERRAFORM = os.environ.get("TG_TF_PATH", "terraform")

_CHECKS = {"provider": lambda: provider() is not None}
_MISSING = {
    "provider": "the AWS provider for Terraform is not in a local plugin folder",
}


def has(tool: str) -> bool:
    """Say whether a tool is here: a program on PATH, or "provider" for the AWS provider of Terraform."""
    return _CHECKS[tool]() if tool in _CHECKS else shutil.which(tool) is not None


def require(*tools: str) -> None:
    """Skip the running test where one of the tools is missing, or fail it where GEODROP_REQUIRE names that tool."""
    wanted = {name.strip() for name in os.environ.get("GEODROP_REQUIRE", "").split(",")}
    if wanted & {"terragrunt", "provider"}:
        wanted.add(TERRAFORM)  # neither is of use without
    for tool in tools:
        if not has(tool):
            reason = _MISSING.get(tool, f"{tool} is not on PATH")
            if tool in wanted:
                pytest.fail(f"GEODROP_REQUIRE asks for {tool}, but {reason}", pytrace=False)
            pytest.skip(reason)
