// The gateway's page of documentation: openapi.json as people read it, and a form to send each request.
// Everything that comes from the document or an answer becomes text, never markup.

const $ = (id) => document.getElementById(id);
let token = "";

function make(tag, options = {}, ...children) {
  const element = Object.assign(document.createElement(tag), options);
  element.append(...children.filter((child) => child !== null));
  return element;
}

function asked(url, options = {}) {
  const headers = { ...(options.headers ?? {}) };
  if (token) headers.Authorization = `Bearer ${token}`;
  return fetch(url, { ...options, headers });
}

async function load() {
  const answer = await asked("openapi.json");
  if (answer.status === 401) {
    $("sign-in-note").textContent = token ? "That token is not valid here." : "This gateway asks for a token.";
    $("sign-in").hidden = false;
    $("routes").replaceChildren();
    return;
  }
  if (!answer.ok) {
    $("routes").textContent = `The document cannot be had now: ${answer.status}. Load the page again.`;
    return;
  }
  $("sign-in").hidden = true;
  show(await answer.json());
}

function show(spec) {
  $("about").textContent = `${spec.info.description ?? ""} Version ${spec.info.version}.`;
  const groups = new Map();
  for (const [path, item] of Object.entries(spec.paths)) {
    for (const [method, operation] of Object.entries(item)) {
      const tag = operation.tags?.[0] ?? "other";
      if (!groups.has(tag)) groups.set(tag, []);
      groups.get(tag).push({ path, method, operation });
    }
  }
  const general = ["models", "open inference protocol", "health", "other"];
  const order = [...groups.keys()].filter((tag) => !general.includes(tag)).sort();
  const sections = [...order, ...general.filter((tag) => groups.has(tag))].map((tag) =>
    make("section", {}, make("h2", { textContent: tag }), ...groups.get(tag).map((route) => shown(spec, route))),
  );
  $("routes").replaceChildren(...sections);
  document.querySelector("label.search").hidden = false;
  find();
}

function shown(spec, { path, method, operation }) {
  const summary = make(
    "summary",
    {},
    make("span", { className: `method ${method}`, textContent: method.toUpperCase() }),
    make("span", { className: "path", textContent: path }),
    make("span", { className: "summary", textContent: operation.summary ?? "" }),
  );
  const details = make("details", {}, summary);
  details.dataset.words = `${method} ${path} ${operation.summary ?? ""} ${operation.description ?? ""}`.toLowerCase();
  // The body is made when it is first looked at: a gateway may have hundreds of models.
  details.addEventListener("toggle", () => {
    if (details.open && details.children.length === 1) details.append(body(spec, path, method, operation));
  });
  return details;
}

function body(spec, path, method, operation) {
  const parts = [];
  if (operation.description && operation.description !== operation.summary) {
    parts.push(make("p", { textContent: operation.description }));
  }
  const parameters = operation.parameters ?? [];
  if (parameters.length) {
    parts.push(make("h3", { textContent: "Parameters" }), table(parameters.map((parameter) => [
      make("code", { textContent: parameter.name }),
      `${parameter.in}${parameter.required ? ", required" : ""}`,
      parameter.description ?? "",
    ])));
  }
  const contents = operation.requestBody?.content ?? {};
  if (Object.keys(contents).length) {
    parts.push(make("h3", { textContent: "Body" }), ...schemas(spec, contents));
  }
  parts.push(make("h3", { textContent: "Answers" }));
  parts.push(table(Object.entries(operation.responses).map(([status, answer]) => [
    make("code", { textContent: status }),
    answer.description ?? "",
    make("div", {}, ...(status === "200" ? schemas(spec, answer.content ?? {}) : [])),
  ])));
  parts.push(make("h3", { textContent: "Try it" }), form(path, method, parameters, contents));
  return make("div", { className: "body" }, ...parts);
}

function table(rows) {
  return make("table", {}, ...rows.map((cells) => make("tr", {}, ...cells.map((cell) => make("td", {}, cell)))));
}

function schemas(spec, contents) {
  const described = [];
  const plain = [];
  for (const [type, { schema }] of Object.entries(contents)) {
    const whole = resolve(spec, schema ?? {});
    if (Object.keys(whole).length && whole.format !== "binary") {
      described.push(make("div", {}, make("code", { textContent: type }), make("pre", { textContent: JSON.stringify(whole, null, 1) })));
    } else {
      plain.push(type);
    }
  }
  if (plain.length) described.push(make("p", {}, `${described.length ? "also " : ""}`, make("code", { textContent: plain.join(", ") })));
  return described;
}

function resolve(spec, schema) {
  if (!schema.$ref) return schema;
  return schema.$ref.split("/").slice(1).reduce((part, key) => part?.[key], spec) ?? {};
}

function exampleOf(content, type) {
  const schema = content.schema ?? {};
  const candidates = [schema, ...(schema.oneOf ?? [])];
  const examples = [content.example, ...candidates.map((each) => each.examples?.[0])];
  const example = examples.find((each) => each !== undefined);
  if (example === undefined) return "";
  return typeof example === "string" && !type.includes("json") ? example : JSON.stringify(example);
}

// One field for a body or a part of one: a file where the schema is bytes, text elsewhere.
function field(name, type, content) {
  if (content.schema?.format === "binary") {
    const input = make("input", { type: "file", name, multiple: content.repeated ?? false, ariaLabel: name });
    return { name, type, input, isFile: true, value: () => input.files[0], values: () => [...input.files] };
  }
  const input = make("textarea", { name, value: exampleOf(content, type), spellcheck: false, ariaLabel: name === "body" ? "Body" : name });
  return { name, type, input, isFile: false, value: () => input.value, values: () => [input.value] };
}

function quoted(words) {
  return `'${words.replaceAll("'", "'\\''")}'`;
}

function formBody({ schema = {}, encoding = {} }) {
  const required = schema.required ?? [];
  const parts = Object.entries(schema.properties ?? {}).map(([name, part]) => {
    const repeated = part["x-vts-repeated"] ?? false;
    const type = (encoding[name]?.contentType ?? "text/plain").split(",")[0];
    return { ...field(name, type, { schema: repeated ? part.items : part, repeated }), optional: !required.includes(name) };
  });
  // What may be left out and is empty is left out.
  const sent = (part) => part.values().filter((value) => value !== "" || !part.optional);
  const labelOf = (part) => `${part.name} (${part.type}${part.optional ? ", may be left out" : ""}) `;
  return {
    elements: parts.map((part) => make("label", { className: "field" }, labelOf(part), part.input)),
    options: () => {
      const body = new FormData();
      for (const part of parts) {
        for (const value of sent(part)) body.append(part.name, part.isFile ? value : new Blob([value], { type: part.type }));
      }
      return { body };
    },
    command: () => parts.flatMap((part) => {
      if (!part.isFile) return sent(part).flatMap((value) => ["--form-string", quoted(`${part.name}=${value}`)]);
      const names = sent(part).map((file) => file.name);
      return (names.length || part.optional ? names : ["FILE"]).flatMap((name) => ["-F", quoted(`${part.name}=@${name}`)]);
    }),
  };
}

function plainBody(contents, type) {
  const whole = field("body", type, contents[type]);
  const headerOf = (file) => (file && file.type in contents ? file.type : type);
  return {
    elements: [whole.input],
    options: () => ({ body: whole.value() ?? "", headers: { "Content-Type": whole.isFile ? headerOf(whole.value()) : type } }),
    command: () => {
      if (whole.isFile) {
        const file = whole.value();
        return ["-H", quoted(`Content-Type: ${headerOf(file)}`), "--data-binary", quoted(`@${file?.name ?? "FILE"}`)];
      }
      return whole.value() ? ["-H", quoted(`Content-Type: ${type}`), "-d", quoted(whole.value())] : [];
    },
  };
}

function bodyOf(contents) {
  const type = "application/json" in contents ? "application/json" : Object.keys(contents)[0];
  if (!type) return null;
  return type === "multipart/form-data" ? formBody(contents[type]) : plainBody(contents, type);
}

function form(path, method, parameters, contents) {
  const fields = parameters.filter((parameter) => parameter.in === "path").map((parameter) => {
    const input = make("input", { name: parameter.name, required: true });
    return { name: parameter.name, input, label: make("label", { className: "field" }, `${parameter.name} `, input) };
  });
  const given = bodyOf(contents);
  const command = make("pre", { className: "command" });
  const answer = make("div", { className: "answer", ariaLive: "polite" });
  const address = () => fields.reduce(
    (url, each) => url.replace(`{${each.name}}`, () => encodeURIComponent(each.input.value).replaceAll("%3A", ":") || `{${each.name}}`),
    path,
  );
  const refresh = () => {
    const words = ["curl", "-s", ...(method === "get" || (method === "post" && given) ? [] : ["-X", method.toUpperCase()])];
    words.push(quoted(new URL(address().slice(1), new URL(".", location.href)).href.replaceAll("%7B", "{").replaceAll("%7D", "}")));
    if (token) words.push("-H", "\"Authorization: Bearer $TOKEN\"");
    if (given) words.push(...given.command());
    command.textContent = words.join(" ");
  };
  const send = async (event) => {
    event.preventDefault();
    const options = { method: method.toUpperCase(), ...given?.options() };
    const started = performance.now();
    try {
      const got = await asked(address().slice(1), options);
      const kind = got.headers.get("content-type") ?? "";
      const shownBody = /json|text/.test(kind) ? await got.text() : `${(await got.arrayBuffer()).byteLength} bytes of ${kind || "nothing"}`;
      const took = (performance.now() - started).toFixed(0);
      answer.replaceChildren(
        make("p", { className: `status ${got.ok ? "good" : "bad"}`, textContent: `${got.status} in ${took} ms` }),
        make("pre", { textContent: shownBody }),
      );
    } catch (error) {
      answer.replaceChildren(make("p", { className: "status bad", textContent: `No answer: ${error.message}` }));
    }
  };
  const whole = make("form", { onsubmit: send, oninput: refresh }, ...fields.map((each) => each.label), ...(given?.elements ?? []), make("button", { textContent: "Send" }), command, answer);
  refresh();
  return whole;
}

function find() {
  const words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const section of document.querySelectorAll("#routes section")) {
    let any = false;
    for (const route of section.querySelectorAll("details[data-words]")) {
      route.hidden = !words.every((word) => route.dataset.words.includes(word));
      any ||= !route.hidden;
    }
    section.hidden = !any;
  }
}

$("search").addEventListener("input", find);
$("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  token = $("token").value.trim();
  $("token").value = "";
  load();
});
load();
