"""Makes a component of a plugin's sources: `python3 build.py JOB.json`, started by `koban plugin build`, which has staged the sources and the tools.

The job: `entry` (the plugin's module below `root`), `root` (the staged folder), `id`, `version`, `kind`, `wit` (the contract's folder), `tool` (the
folder of the componentizer's package) and `out`.
"""

import importlib
import json
from pathlib import Path
import shutil
import sys

ENTRY = """\
from koban_sdk.export import exported
from {module} import plugin

globals().update(exported(plugin, {id!r}, {version!r}))
"""


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    root = Path(job["root"])
    sys.path[:0] = [str(root), job["tool"]]
    kinds = importlib.import_module("koban_sdk.kinds")
    plugin = getattr(importlib.import_module(job["entry"]), "plugin", None)
    if not isinstance(plugin, kinds.Plugin):
        sys.exit(f"{job['entry']}.py has no plugin: write `plugin = MyPlugin()` at its end, of a class below FraudRule or another kind")
    if plugin.KIND != job["kind"]:
        sys.exit(f"{job['entry']}.py is a {plugin.KIND}, and plugin.toml says kind = \"{job['kind']}\": make them the same")
    name, version = kinds.CONTRACT.split("@")
    full = [f"{name}/{interface}@{version}" for interface in ["plugin", *kinds.interfaces(plugin)]]
    shutil.copytree(job["wit"], root / "wit" / "deps" / "koban")
    lines = [f"  import {name}/log@{version};\n", *(f"  export {interface};\n" for interface in full)]
    (root / "wit" / "world.wit").write_text("package koban:built;\n\nworld plugin {\n" + "".join(lines) + "}\n", encoding="utf-8")
    (root / "koban_entry.py").write_text(ENTRY.format(module=job["entry"], id=job["id"], version=job["version"]), encoding="utf-8")
    arguments = ["--wit-path", str(root / "wit"), "--world", "plugin", "--quiet", "componentize", "koban_entry"]
    sys.argv[1:] = [*arguments, "--stub-wasi", "--python-path", str(root), "--output", job["out"]]
    try:
        importlib.import_module("componentize_py").script()
    except AssertionError as error:
        # The tool's own text: what went wrong first, then where inside the tool.
        sys.exit(str(error).split("\n\nStack backtrace:")[0].strip())


main()
