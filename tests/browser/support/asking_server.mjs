// An MCP server (2025-11-25) whose tool `ask` asks what the call wants to be asked, and gives back the answer.
import { once } from 'node:events';
import { createServer } from 'node:http';

import { within } from './inspector.mjs';

const QUESTIONS = {
  form: { method: 'elicitation/create', params: { message: 'Which coffee?', requestedSchema: { type: 'object', required: ['coffee'],
    properties: { coffee: { type: 'string', title: 'Coffee', enum: ['espresso', 'flat white'] }, sugar: { type: 'integer', minimum: 0, maximum: 3 }, mail: { type: 'string', format: 'email' } } } } },
  page: { method: 'elicitation/create', params: { mode: 'url', elicitationId: 'one', message: 'Pay on our page', url: 'https://pay.example/one' } },
  script: { method: 'elicitation/create', params: { mode: 'url', elicitationId: 'two', message: 'Pay here', url: 'javascript:alert(1)' } },
  sampling: { method: 'sampling/createMessage', params: { maxTokens: 50, systemPrompt: 'Be brief', messages: [{ role: 'user', content: { type: 'text', text: 'A name for a cat?' } }] } },
  roots: { method: 'roots/list' },
};

/** The answer to a call before its page was visited (MCP 2025-11-25, "URL Elicitation Required Error"). */
const NEEDED = { code: -32042, message: 'This needs your account there.', data: { elicitations: [{ mode: 'url', elicitationId: 'three', url: 'https://bank.example/connect', message: 'Connect your bank account' }] } };

const TOOLS = [{ name: 'ask', description: 'Asks you something', inputSchema: { type: 'object', required: ['question'], properties: { question: { type: 'string', enum: [...Object.keys(QUESTIONS), 'first a page'] } } } }];

/** `answered` resolves with the first answer of the person. `visited` tells the page that the visit is over; from then on the call that needs it is answered. */
export async function askingServer({ test }) {
  const waiting = new Map(); // Id of a question to what ends the call.
  let answer;
  const answered = new Promise((resolve) => { answer = resolve; });
  let count = 0;
  let stream; // The session's own, for what belongs to no request.
  let isVisited = false;
  const respond = (message, response) => {
    const send = (value) => response.write(`data: ${JSON.stringify({ jsonrpc: '2.0', ...value })}\n\n`);
    const results = {
      initialize: { protocolVersion: '2025-11-25', capabilities: { tools: {}, logging: {} }, serverInfo: { name: 'asking', version: '1' } },
      'tools/list': { tools: TOOLS },
      'logging/setLevel': {},
    };
    if (message.method === undefined) {
      waiting.get(message.id)?.(message);
      answer(message.result);
      return response.writeHead(202).end();
    }
    if (message.id === undefined) return response.writeHead(202).end();
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    if (message.method !== 'tools/call') {
      send({ id: message.id, ...(results[message.method] ? { result: results[message.method] } : { error: { code: -32601, message: 'there is no such method' } }) });
      return response.end();
    }
    if (message.params.arguments.question === 'first a page') {
      send({ id: message.id, ...(isVisited ? { result: { content: [{ type: 'text', text: 'the account is connected' }] } } : { error: NEEDED }) });
      return response.end();
    }
    const id = `question-${count += 1}`;
    waiting.set(id, ({ result, error }) => {
      send({ id: message.id, result: { content: [{ type: 'text', text: JSON.stringify(result ?? error) }] } });
      response.end();
    });
    send({ method: 'notifications/message', params: { level: 'warning', logger: 'shop', data: 'a question is on its way' } });
    send({ method: 'notifications/tools/list_changed' });
    return send({ id, ...QUESTIONS[message.params.arguments.question] });
  };
  const server = createServer(async (request, response) => {
    if (request.method === 'GET') {
      response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders();
      stream = response;
      return undefined;
    }
    if (request.method !== 'POST') return response.writeHead(405).end();
    let text = '';
    for await (const piece of request.setEncoding('utf8')) text += piece;
    return respond(JSON.parse(text), response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  test.after(() => { server.close(); server.closeAllConnections(); });
  const visited = () => {
    isVisited = true;
    stream.write(`data: ${JSON.stringify({ jsonrpc: '2.0', method: 'notifications/elicitation/complete', params: { elicitationId: 'three' } })}\n\n`);
  };
  return { url: `http://127.0.0.1:${server.address().port}/mcp`, visited, answered: () => within('an answer', () => '', answered) };
}
