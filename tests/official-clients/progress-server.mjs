// An MCP server that sends the progress of a call and its response at once.
import { createServer } from 'node:http';
import { parentPort, workerData } from 'node:worker_threads';

const { steps } = workerData;

const results = {
  initialize: (params) => ({
    protocolVersion: params.protocolVersion,
    capabilities: { tools: {} },
    serverInfo: { name: 'progress', version: '1' },
  }),
  'tools/list': () => ({ tools: [{ name: 'steps', inputSchema: { type: 'object' } }] }),
  'tools/call': () => ({ content: [{ type: 'text', text: 'done' }] }),
};

const server = createServer(async (request, response) => {
  if (request.method !== 'POST') return response.writeHead(405).end();
  let body = '';
  for await (const chunk of request) body += chunk;
  const { id, method, params } = JSON.parse(body);
  if (id === undefined) return response.writeHead(202).end();
  if (!results[method]) {
    const error = { code: -32601, message: 'Method not found' };
    response.writeHead(200, { 'content-type': 'application/json' });
    return response.end(JSON.stringify({ jsonrpc: '2.0', id, error }));
  }
  const messages = [{ jsonrpc: '2.0', id, result: results[method](params) }];
  const progressToken = params?._meta?.progressToken;
  for (let progress = steps; progress > 0 && progressToken !== undefined; progress--) {
    const params = { progressToken, progress, total: steps };
    messages.unshift({ jsonrpc: '2.0', method: 'notifications/progress', params });
  }
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  response.end(messages.map((message) => `data: ${JSON.stringify(message)}\n\n`).join(''));
});
server.listen(0, '127.0.0.1', () => parentPort.postMessage(server.address().port));
