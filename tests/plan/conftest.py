"""The plan of every good call of the modules, made once."""

import pytest

from tests.plan.harness import Composition, Planned
from tests.plan.inputs import GOOD, INPUTS
from tests.require import TERRAFORM, require


@pytest.fixture(scope="session")
def plans(tmp_path_factory):
    """The calls of inputs.GOOD by name, each as `Planned`; skips where Terraform or the provider is missing."""
    require(TERRAFORM, "provider")
    calls = {name: (module, {**INPUTS[module], **changes}) for name, (module, changes) in GOOD.items()}
    raw = Composition(tmp_path_factory.mktemp("good"), calls).plan()
    return {name: Planned(raw, name) for name in calls}
