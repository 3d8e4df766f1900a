"""Plans of the modules on the real AWS provider, with no account and no network.

Starting the provider takes longer than planning, so many calls of modules share one plan: all the good ones, all that a
variable's validation refuses, all that a precondition refuses.
"""

import json
import os
import re
import shutil
import zipfile
from pathlib import Path

import tftest

from tests.require import TERRAFORM

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted(path.parent.name for path in (ROOT / "modules").glob("*/main.tf"))

# Nothing listens at the endpoint: a plan that asks AWS anything fails.
PROVIDER = {
    "provider": {
        "aws": {
            "region": "eu-central-1",
            "access_key": "none",
            "secret_key": "none",
            "max_retries": 0,
            "skip_credentials_validation": True,
            "skip_metadata_api_check": True,
            "skip_region_validation": True,
            "skip_requesting_account_id": True,
        }
    }
}
OFFLINE = {
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "CHECKPOINT_DISABLE": "1",
}


class Planned:
    """What one call of a module would make: the values known beforehand, and what refers to what."""

    def __init__(self, raw, call):
        prefix = f"module.{call}."
        self._configuration = raw["configuration"]["root_module"]["module_calls"][call]["module"]
        self.resources, self.documents = {}, {}
        for change in raw["resource_changes"]:
            if change["address"].startswith(prefix):
                # Policy documents that wait for an id are among the changes, with what is known of them.
                place = self.documents if change["mode"] == "data" else self.resources
                place[change["address"].removeprefix(prefix)] = change["change"]["after"]

    def __getitem__(self, address):
        return self.resources[address]

    def of(self, kind):
        """Return the resources of one type, those of inner modules included, by address without the type."""
        pattern = re.compile(rf"(^|\.){kind}\.")
        found = {address: after for address, after in self.resources.items() if pattern.search(address)}
        return {pattern.sub(r"\1", address): after for address, after in found.items()}

    def one(self, kind):
        """Return the only resource of a type."""
        (only,) = self.of(kind).values()
        return only

    def policy(self, address, attribute="policy"):
        """Return the statements, by Sid, of a policy that is known beforehand."""
        return {statement.get("Sid", ""): statement for statement in json.loads(self[address][attribute])["Statement"]}

    def references(self, address, attribute):
        """Return the resources and variables that an attribute, or a block, refers to."""
        found, waiting = set(), [self._resource(address)["expressions"].get(attribute, {})]
        while waiting:
            expression = waiting.pop()
            if isinstance(expression, list):
                waiting += expression
            elif isinstance(expression, dict):
                found |= {".".join(each.split(".")[:2]).split("[")[0] for each in expression.get("references", [])}
                waiting += [value for name, value in expression.items() if name != "references"]
        return found

    def depends_on(self, address):
        """Return what a resource waits for by `depends_on`."""
        return set(self._resource(address).get("depends_on", []))

    def _resource(self, address):
        *calls, kind, name = address.split(".")
        module = self._configuration
        for call in calls[1::2]:
            module = module["module_calls"][call]["module"]
        (found,) = (each for each in module["resources"] if each["address"] == f"{kind}.{name}")
        return found


class Composition:
    """A root module in a folder of its own that calls modules, each call with its inputs."""

    def __init__(self, folder, calls, *, variables_only=False):
        """Take calls as name -> (module, inputs).

        Of the modules, variables.tf alone is enough for what its validations refuse: no provider is started for it.
        """
        left_out = ["main.tf", "outputs.tf", "versions.tf"] if variables_only else []
        ignore = shutil.ignore_patterns(".terraform*", *left_out)
        shutil.copytree(ROOT / "modules", folder / "modules", ignore=ignore)
        root = folder / "root"
        root.mkdir()
        if not variables_only:
            (root / "provider.tf.json").write_text(json.dumps(PROVIDER))
        with zipfile.ZipFile(root / "function.zip", "w") as archive:
            archive.writestr("handler.py", "")
        for name, (module, inputs) in calls.items():
            call = {"source": f"../modules/{module}", **inputs}
            (root / f"{name}.tf.json").write_text(json.dumps({"module": {name: call}}, indent=1))
        self._test = tftest.TerraformTest(str(root), binary=TERRAFORM)
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "TF_"))}
        cache = {name: os.environ[name] for name in ("TF_PLUGIN_CACHE_DIR",) if name in os.environ}
        self._test.env = inherited | cache | OFFLINE
        self._test.setup(cleanup_on_exit=False)

    def plan(self):
        """Return the plan as Terraform writes it in JSON."""
        return dict(self._test.plan(output=True, refresh=False, lock=False))

    def refusals(self):
        """Return what Terraform refuses, each on one line.

        By the name of the call where a validation refuses it; Terraform does not say which call a precondition
        belongs to, so those are by the name of the module.
        """
        try:
            self._test.plan(refresh=False, lock=False)
        except tftest.TerraformTestError as error:
            said = re.sub("[│╷╵]", " ", error.cmd_error)
        else:
            raise AssertionError("every call was taken")
        found = {}
        for message in said.split("Error: ")[1:]:
            words = " ".join(message.split())
            where = re.match(r".*? on (?:\.\./modules/)?([\w-]+)(?:/main\.tf|\.tf\.json) line", words)
            assert where, f"neither call nor module is named: {words}"
            found[where[1]] = f"{found.get(where[1], '')} {words}"
        return found
