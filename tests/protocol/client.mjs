// The official TypeScript client, driven by a list of steps on stdin; prints one JSON line of what it got.
//
//   node client.mjs SDK_FOLDER COMMAND ARGS...
//
// Steps: ["call", tool, arguments], ["list", "tools"], ["read", uri], ["prompt", name, arguments], ["raw", method, params],
// ["subscribe", uri], ["cancelled", tool].
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [sdk, command, ...args] = process.argv.slice(2);
const require = createRequire(`${sdk}/x.js`);
const load = (name) => import(pathToFileURL(require.resolve(`@modelcontextprotocol/sdk/${name}`)).href);
const { Client } = await load("client/index.js");
const { StdioClientTransport } = await load("client/stdio.js");
const types = await load("types.js");

const heard = [];
const asked = [];
const client = new Client(
  { name: "typescript", version: "1" },
  { capabilities: { sampling: {}, elicitation: {}, roots: { listChanged: true } } },
);
client.fallbackNotificationHandler = async (note) => void heard.push(note);
client.setRequestHandler(types.CreateMessageRequestSchema, async (request) => {
  asked.push(request.method);
  return { role: "assistant", model: "none", content: { type: "text", text: "Paris" } };
});
client.setRequestHandler(types.ElicitRequestSchema, async (request) => {
  asked.push(request.method);
  return { action: "accept", content: { username: "ada", email: "ada@example.org" } };
});
client.setRequestHandler(types.ListRootsRequestSchema, async (request) => {
  asked.push(request.method);
  return { roots: [{ uri: "file:///notes", name: "notes" }] };
});

const anything = types.ResultSchema.loose ? types.ResultSchema.loose() : types.ResultSchema.passthrough();
const progress = [];
const steps = {
  call: (name, given) =>
    client.callTool({ name, arguments: given ?? {} }, undefined, { onprogress: (p) => void progress.push(p.progress) }),
  list: (what) => client.request({ method: `${what}/list`, params: {} }, anything),
  read: (uri) => client.readResource({ uri }),
  prompt: (name, given) => client.getPrompt({ name, arguments: given }),
  raw: (method, params) => client.request({ method, params }, anything),
  subscribe: (uri) => client.subscribeResource({ uri }),
  cancelled: async (name) => {
    const abort = new AbortController();
    const call = client.callTool({ name, arguments: {} }, undefined, { signal: abort.signal });
    setTimeout(() => abort.abort("enough"), 200);
    return call.then(() => ({}), (error) => ({ aborted: String(error) }));
  },
};

await client.connect(new StdioClientTransport({ command, args, stderr: "inherit" }));
const results = [];
for (const [step, ...given] of JSON.parse(readFileSync(0, "utf8"))) {
  results.push(await steps[step](...given).catch((error) => ({ code: error.code, message: error.message, data: error.data })));
}
const server = client.getServerVersion();
await client.close();
console.log(JSON.stringify({ results, heard, asked, progress, server }));
