"""`make doctor` says what is missing or too old, and how to get it."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def said(tmp_path, **programs):
    """What it says where these programs are all there is on PATH, each printing a line."""
    for name, line in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\necho {line}\n")
        (tmp_path / name).chmod(0o700)
    environment = {**os.environ, "PATH": str(tmp_path)}
    command = [sys.executable, "-m", "local.doctor"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    return {line[4:26].strip(): line for line in done.stdout.splitlines()}


def test_what_is_missing_or_too_old_comes_with_how_to_get_it(tmp_path):
    lines = said(tmp_path, terraform="Terraform v1.9.8", terragrunt="terragrunt version v1.1.3")
    assert lines["Terraform"].startswith("--")
    assert "1.10 or newer" in lines["Terraform"]
    assert lines["Terragrunt"] == "ok  Terragrunt             terragrunt version v1.1.3"
    assert "apt-get install chromium" in lines["Chromium"]


def test_what_is_new_enough_is_fine(tmp_path):
    assert said(tmp_path, terraform="Terraform v1.10.0")["Terraform"].startswith("ok")
