// Whether the last progress of a call arrives in an app made with the official TypeScript SDK although the
// server sends it together with the response. Usage: progress.mjs v1|v2 BRIDGE
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';

const CALLS = 40;
const STEPS = 3;

const [version, bridge] = process.argv.slice(2);
const require = createRequire(`${process.env.PACKAGES}/`);
const load = (name) => import(pathToFileURL(require.resolve(name)));
const [{ Client }, { StdioClientTransport }] =
  version === 'v1'
    ? [
        await load('@modelcontextprotocol/sdk/client/index.js'),
        await load('@modelcontextprotocol/sdk/client/stdio.js'),
      ]
    : [await load('@modelcontextprotocol/client'), await load('@modelcontextprotocol/client/stdio')];

// On a thread of its own, so that the app has time to read.
const worker = new Worker(new URL('progress-server.mjs', import.meta.url), { workerData: { steps: STEPS } });
const [port] = await once(worker, 'message');

const client = new Client({ name: 'official-client', version: '1' });
client.onerror = () => {};
const args = [`http://127.0.0.1:${port}/mcp`];
await client.connect(new StdioClientTransport({ command: bridge, args, env: process.env, stderr: 'inherit' }));
let arrived = 0;
for (let call = 0; call < CALLS; call++) {
  let last = 0;
  const options = { onprogress: ({ progress }) => (last = progress) };
  const params = { name: 'steps', arguments: {} };
  await (version === 'v1' ? client.callTool(params, undefined, options) : client.callTool(params, options));
  if (last === STEPS) arrived++;
}
console.log(`the last progress of ${arrived} of ${CALLS} calls arrived`);
await client.close();
await worker.terminate();
if (arrived !== CALLS) process.exit(1);
