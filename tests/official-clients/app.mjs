// An app made with the official TypeScript SDK: connects, and works as soon as the server lets it.
// Usage: app.mjs v1|v2 BRIDGE URL
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const [version, bridge, url] = process.argv.slice(2);
const require = createRequire(`${process.env.PACKAGES}/`);
const load = (name) => import(pathToFileURL(require.resolve(name)));

const [{ Client }, { StdioClientTransport }, listChanged] =
  version === 'v1'
    ? [
        await load('@modelcontextprotocol/sdk/client/index.js'),
        await load('@modelcontextprotocol/sdk/client/stdio.js'),
        (await load('@modelcontextprotocol/sdk/types.js')).ToolListChangedNotificationSchema,
      ]
    : [
        await load('@modelcontextprotocol/client'),
        await load('@modelcontextprotocol/client/stdio'),
        'notifications/tools/list_changed',
      ];

const since = Date.now();
const say = (what) => console.log(`${((Date.now() - since) / 1000).toFixed(1)} s: ${what}`);

const client = new Client({ name: 'official-client', version: '1' });
const changed = new Promise((resolve) => client.setNotificationHandler(listChanged, resolve));
const transport = new StdioClientTransport({ command: bridge, args: [url], env: process.env, stderr: 'inherit' });
await client.connect(transport);
say('connected');
const names = (tools) => tools.map((tool) => tool.name);
let { tools } = await client.listTools();
if (!names(tools).includes('get-user-data')) {
  say(`the tools so far: [${names(tools)}]`);
  await changed;
  say('told that the list has changed');
  ({ tools } = await client.listTools());
}
const { structuredContent } = await client.callTool({ name: 'get-user-data', arguments: {} });
say(`${tools.length} tools, called as ${structuredContent.id}`);
await client.close();
if (structuredContent.id !== 'ada') process.exit(1);
