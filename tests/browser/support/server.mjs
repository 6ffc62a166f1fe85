// An MCP server (2025-11-25) without a sign-in: one tool whose form has everything, and one that never answers.
import { once } from 'node:events';
import { createServer } from 'node:http';

import { within } from './inspector.mjs';

const FORM = {
  type: 'object',
  required: ['name', 'size', 'address'],
  properties: {
    name: { type: 'string', title: 'Name', minLength: 2, description: 'Who gets it' },
    size: { type: 'string', enum: ['small', 'large'] },
    email: { type: 'string', format: 'email' },
    count: { type: 'integer', minimum: 1, maximum: 9, default: 2 },
    gift: { type: 'boolean', default: true },
    address: { type: 'object', required: ['city'], properties: { city: { type: 'string' }, floor: { type: 'integer' } } },
    extras: { type: 'array', items: { type: 'string' }, maxItems: 3 },
    other: { description: 'Anything' },
  },
};

const TOOLS = [
  { name: 'order', description: 'Takes an order', inputSchema: FORM },
  { name: 'wait', description: 'Never answers', inputSchema: { type: 'object' } },
];

const RESULTS = {
  initialize: () => ({ protocolVersion: '2025-11-25', capabilities: { tools: {}, resources: {}, prompts: {} }, serverInfo: { name: 'forms', version: '1' } }),
  ping: () => ({}),
  'tools/list': () => ({ tools: TOOLS }),
  'tools/call': ({ arguments: given }) => ({ content: [{ type: 'text', text: JSON.stringify(given) }] }),
  'resources/list': () => ({ resources: [{ uri: 'note://one', name: 'One', description: 'A note' }] }),
  'resources/templates/list': () => ({ resourceTemplates: [{ uriTemplate: 'note://{name}', name: 'Any note' }] }),
  'resources/read': ({ uri }) => ({ contents: [{ uri, text: `The note ${uri}` }] }),
  'prompts/list': () => ({ prompts: [{ name: 'greet', arguments: [{ name: 'who', required: true }] }] }),
  'prompts/get': ({ arguments: given }) => ({ messages: [{ role: 'user', content: { type: 'text', text: `Hello, ${given.who}` } }] }),
};

/** Starts the server. `received(method)` resolves with the params of such a message that has not been asked for yet. */
export async function formServer({ test }, port = 0) {
  const messages = [];
  const waiting = new Set();
  const server = createServer(async (request, response) => {
    if (request.method !== 'POST') return response.writeHead(405).end();
    let text = '';
    for await (const piece of request.setEncoding('utf8')) text += piece;
    const message = JSON.parse(text);
    messages.push(message);
    for (const look of waiting) look();
    return answer(message, response);
  });
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  const die = async () => {
    const closed = new Promise((resolve) => { server.close(resolve); });
    server.closeAllConnections();
    await closed;
  };
  test.after(die);
  const received = (method) => within(`the message ${method}`, () => messages.map((it) => it.method).join('\n'), new Promise((resolve) => {
    const look = () => {
      const at = messages.findIndex((message) => message.method === method);
      if (at >= 0) { waiting.delete(look); resolve(messages.splice(at, 1)[0]); }
    };
    waiting.add(look);
    look();
  }));
  return { url: `http://127.0.0.1:${server.address().port}/mcp`, port: server.address().port, received, die };
}

function answer(message, response) {
  if (message.id === undefined) return response.writeHead(202).end();
  if (message.method === 'tools/call' && message.params.name === 'wait') return undefined;
  const result = RESULTS[message.method]?.(message.params ?? {});
  const error = { code: -32601, message: `there is no ${message.method}` };
  response.writeHead(200, { 'content-type': 'application/json' });
  return response.end(JSON.stringify({ jsonrpc: '2.0', id: message.id, ...(result ? { result } : { error }) }));
}
