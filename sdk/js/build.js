// Makes a component of a plugin's sources: `node build.js JOB.json`, started by `koban plugin build`, which has staged the sources and the tools.
//
// The job: `entry` (the plugin's own file below `root`), `root` (the staged folder), `id`, `version`, `wit` (the contract's folder), `tool` (the
// componentizer's file) and `out`.

import { mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const job = JSON.parse(readFileSync(process.argv[2], "utf8"));
const { CONTRACT, interfaces } = await import(pathToFileURL(join(job.root, "node_modules/koban-sdk/kinds.js")));

const definition = (await import(pathToFileURL(join(job.root, job.entry)))).default;
if (definition === null || typeof definition !== "object" || typeof definition.kind !== "string") {
  fail(`${job.entry} has no plugin as its default export: write \`export default fraudRule({ ... })\` or another kind`);
}
if (definition.kind !== job.kind) {
  fail(`${job.entry} is a ${definition.kind}, and plugin.toml says kind = "${job.kind}": make them the same`);
}
const exports = ["plugin", ...interfaces(definition)];

const [name, version] = CONTRACT.split("@");
const full = interface_ => `${name}/${interface_}@${version}`;
const wit = join(job.root, "wit");
mkdirSync(join(wit, "deps", "koban"), { recursive: true });
for (const file of readdirSync(job.wit)) writeFileSync(join(wit, "deps", "koban", file), readFileSync(join(job.wit, file)));
const lines = [`import ${full("log")};`, ...exports.map(export_ => `export ${full(export_)};`)];
writeFileSync(join(wit, "world.wit"), `package koban:built;\n\nworld plugin {\n${lines.map(line => `  ${line}\n`).join("")}}\n`);

const camel = word => word.replace(/-(.)/g, (_, letter) => letter.toUpperCase());
const source = `
import log from ${JSON.stringify(full("log"))};
import { connect, exported } from "koban-sdk/component";
import definition from ${JSON.stringify(`./${job.entry}`)};
connect(log.write);
const all = exported(definition, ${JSON.stringify({ id: job.id, version: job.version })});
${exports.map(export_ => `export const ${camel(export_)} = all[${JSON.stringify(camel(export_))}];`).join("\n")}
`;
const entry = join(job.root, "koban-entry.js");
writeFileSync(entry, source);

const { componentize } = await import(pathToFileURL(job.tool));
const made = await componentize({
  witPath: wit,
  world: "plugin",
  jsSource: source,
  jsPath: entry,
  moduleRoot: job.root,
  stubWasi: true,
  sync: true,
}).catch(error => fail(String(error.message).replace(/^: /, "")));
writeFileSync(job.out, made.component);

function fail(message) {
  console.error(message);
  process.exit(1);
}
