// The MCP half of the npm servers, made with the official SDK: one tool that says who is signed in.
import { randomUUID } from 'node:crypto';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { SSEServerTransport } from '@modelcontextprotocol/sdk/server/sse.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import { WebStandardStreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/webStandardStreamableHttp.js';

export const port = Number(process.env.PORT);
export const base = process.env.BASE_URL;
export const ttl = Number(process.env.TOKEN_TTL ?? 3600);

function whoami(user) {
  const server = new McpServer({ name: 'whoami', version: '1.0.0' });
  server.registerTool('whoami', { description: 'Says who is signed in' }, async () => ({
    content: [{ type: 'text', text: `signed in as ${user}` }],
  }));
  return server;
}

const sessions = new Map();

/** Serves one request to a streamable HTTP endpoint, for somebody who has proved to be `user`. */
export async function streamable(request, response, user, body) {
  const id = request.headers['mcp-session-id'];
  let transport = sessions.get(id);
  if (id && !transport) {
    response.writeHead(404, { 'content-type': 'application/json' });
    return response.end(JSON.stringify({ jsonrpc: '2.0', id: null, error: { code: -32001, message: 'Session not found' } }));
  }
  if (!transport) {
    transport = new StreamableHTTPServerTransport({
      sessionIdGenerator: randomUUID,
      onsessioninitialized: (session) => { sessions.set(session, transport); },
      onsessionclosed: (session) => { sessions.delete(session); },
    });
    await whoami(user).connect(transport);
  }
  return transport.handleRequest(request, response, body);
}

/** Opens the stream of an HTTP+SSE session. */
export async function openStream(response, user, messages) {
  const transport = new SSEServerTransport(messages, response);
  sessions.set(transport.sessionId, transport);
  response.on('close', () => sessions.delete(transport.sessionId));
  await whoami(user).connect(transport);
}

/** Takes a message of an HTTP+SSE session. */
export async function takeMessage(request, response, body) {
  const id = new URL(request.url, base).searchParams.get('sessionId');
  const transport = sessions.get(id);
  if (transport) return transport.handlePostMessage(request, response, body);
  response.writeHead(404);
  return response.end('No such session');
}

/** The same as `streamable`, for servers that speak in Request and Response. */
export async function streamableWeb(request, user) {
  const id = request.headers.get('mcp-session-id');
  let transport = sessions.get(id);
  if (id && !transport) {
    return Response.json({ jsonrpc: '2.0', id: null, error: { code: -32001, message: 'Session not found' } }, { status: 404 });
  }
  if (!transport) {
    transport = new WebStandardStreamableHTTPServerTransport({
      sessionIdGenerator: () => crypto.randomUUID(),
      onsessioninitialized: (session) => { sessions.set(session, transport); },
      onsessionclosed: (session) => { sessions.delete(session); },
    });
    await whoami(user).connect(transport);
  }
  return transport.handleRequest(request);
}
