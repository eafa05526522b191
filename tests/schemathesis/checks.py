"""What schemathesis is told about this API: objects to name in paths, and which answers above 499 are no mistake."""

import json
import os

import schemathesis

# Path prefixes with the ids that are there, written by the test that runs this.
KNOWN = json.loads(os.environ["KOBAN_KNOWN_IDS"])
# "Come back later" about what an operator or a partner has to bring, as docs/reference/outcomes.md says.
LATER = {"channel_not_available", "rate_not_available"}


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    """Every other object that a path names is one that is there."""
    if not path_parameters or "id" not in path_parameters:
        return path_parameters
    path = context.operation.path
    for prefix, there in KNOWN:
        if path.startswith(prefix) and len(str(path_parameters["id"])) % 2 == 0:
            return {**path_parameters, "id": there}
    return path_parameters


@schemathesis.check
def the_host_makes_no_mistake(ctx, response, case):
    """No answer above 499, but for the two refusals that wait for somebody else."""
    if response.status_code < 500:
        return
    try:
        code = response.json().get("code")
    except ValueError:
        code = None
    if response.status_code == 503 and code in LATER:
        return
    raise AssertionError(f"{response.status_code} {code}")
