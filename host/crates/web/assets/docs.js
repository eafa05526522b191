// Draws the API's description as a page. All text is set as text, so nothing in the description can become markup.
"use strict";

const METHODS = ["get", "post", "put", "delete"];
const NESTED_MAX = 6;

function element(name, text, className) {
  const node = document.createElement(name);
  if (text !== undefined) node.textContent = text;
  if (className) node.className = className;
  return node;
}

// Paragraphs and `code` are all that our descriptions use.
function prose(text) {
  const box = element("div");
  for (const paragraph of (text || "").split("\n\n").filter(Boolean)) {
    const node = element("p");
    paragraph.split("`").forEach((part, index) => node.append(index % 2 ? element("code", part) : part));
    box.append(node);
  }
  return box;
}

function resolve(api, schema) {
  const name = schema && schema.$ref && schema.$ref.split("/").pop();
  const found = name ? api.components.schemas[name] || {} : schema || {};
  if (!found.allOf) return found;
  const parts = found.allOf.map((part) => resolve(api, part));
  return {
    ...found,
    properties: Object.assign({}, ...parts.map((part) => part.properties)),
    required: parts.flatMap((part) => part.required || []),
  };
}

function word(api, schema) {
  if (schema.$ref) return schema.$ref.split("/").pop();
  const variants = schema.oneOf || schema.anyOf;
  if (variants) return variants.map((one) => word(api, one)).join(" or ");
  const types = [].concat(schema.type || "any value");
  const type = types.map((one) => (one === "array" && schema.items ? `list of ${word(api, schema.items)}` : one));
  return schema.enum ? schema.enum.join(", ") : type.join(" or ");
}

function fields(api, schema) {
  const resolved = resolve(api, schema);
  if (!resolved.properties) return element("p", word(api, schema));
  const table = element("table");
  for (const [name, field] of Object.entries(resolved.properties)) {
    const row = element("tr");
    const required = (resolved.required || []).includes(name);
    row.append(element("td"), element("td", word(api, field) + (required ? "" : ", optional"), "soft"), element("td"));
    row.cells[0].append(element("code", name));
    row.cells[2].append(prose(field.description || resolve(api, field).description));
    table.append(row);
  }
  return table;
}

function example(api, schema, depth) {
  const own = schema.example !== undefined ? schema.example : (schema.examples || [])[0];
  if (own !== undefined) return own;
  const resolved = resolve(api, schema);
  if (depth > NESTED_MAX) return null;
  if (resolved.properties) {
    const pairs = Object.entries(resolved.properties).map(([name, field]) => [name, example(api, field, depth + 1)]);
    return Object.fromEntries(pairs);
  }
  if (resolved.example !== undefined) return resolved.example;
  const type = [].concat(resolved.type || "")[0];
  if (type === "array") return resolved.items ? [example(api, resolved.items, depth + 1)] : [];
  return { integer: 1, boolean: false, string: resolved.enum ? resolved.enum[0] : "…" }[type] ?? null;
}

function curl(api, path, method, operation) {
  const lines = [`curl -X ${method.toUpperCase()} ${location.origin}${path}`];
  if (operation.security) lines.push('-H "Authorization: Bearer $TOKEN"');
  for (const parameter of operation.parameters || []) {
    if (parameter.in === "header" && parameter.required) lines.push(`-H "${parameter.name}: $(uuidgen)"`);
  }
  const json = operation.requestBody && operation.requestBody.content["application/json"];
  if (json) {
    lines.push('-H "Content-Type: application/json"');
    lines.push(`-d '${JSON.stringify(example(api, json.schema, 0))}'`);
  }
  return lines.join(" \\\n  ");
}

function draw(api, path, method, operation) {
  const box = element("details");
  const summary = element("summary");
  summary.append(element("span", method.toUpperCase(), "method"), element("code", path), operation.summary || "");
  box.append(summary, prose(operation.description));
  for (const needed of operation.security || []) {
    for (const [name, scopes] of Object.entries(needed)) {
      box.append(element("p", `Needs: ${name}${scopes.length ? ` (${scopes.join(", ")})` : ""}`, "soft"));
    }
  }
  const parameters = operation.parameters || [];
  if (parameters.length) {
    const table = element("table");
    for (const parameter of parameters) {
      const row = element("tr");
      const kind = `${parameter.in}${parameter.required ? "" : ", optional"}`;
      row.append(element("td"), element("td", kind, "soft"), element("td"));
      row.cells[0].append(element("code", parameter.name));
      row.cells[2].append(prose(parameter.description));
      table.append(row);
    }
    box.append(element("h4", "Parameters"), table);
  }
  const body = operation.requestBody && operation.requestBody.content["application/json"];
  if (body) box.append(element("h4", "Body"), fields(api, body.schema));
  for (const [status, response] of Object.entries(operation.responses)) {
    box.append(element("h4", `Answer ${status}`), prose(response.description));
    const json = response.content && response.content["application/json"];
    if (json && json.schema) box.append(fields(api, json.schema));
  }
  box.append(element("h4", "Try it"), element("pre", curl(api, path, method, operation)));
  return box;
}

async function main() {
  const page = document.getElementById("page");
  const contents = document.getElementById("contents");
  const answer = await fetch("/openapi.json");
  if (!answer.ok) throw new Error(`/openapi.json was answered with ${answer.status}`);
  const api = await answer.json();
  page.replaceChildren(element("h1", `${api.info.title} API ${api.info.version}`), prose(api.info.description));
  for (const tag of api.tags || []) {
    const heading = element("h2", tag.name);
    heading.id = tag.name;
    const link = element("a", tag.name);
    link.href = `#${tag.name}`;
    contents.append(link);
    page.append(heading, prose(tag.description));
    for (const [path, item] of Object.entries(api.paths)) {
      for (const method of METHODS.filter((one) => item[one] && (item[one].tags || []).includes(tag.name))) {
        page.append(draw(api, path, method, item[method]));
      }
    }
  }
  const problems = element("a", "problems");
  problems.href = "/problems";
  contents.append(problems);
}

main().catch((error) => {
  document.getElementById("page").append(element("p", `The page could not be drawn: ${error.message}`));
});
