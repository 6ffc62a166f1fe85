// The official TypeScript SDK 1.x: `mcpAuthRouter` with the in-memory provider of its examples.
import express from 'express';
import { requireBearerAuth } from '@modelcontextprotocol/sdk/server/auth/middleware/bearerAuth.js';
import { getOAuthProtectedResourceMetadataUrl, mcpAuthRouter } from '@modelcontextprotocol/sdk/server/auth/router.js';
import { base, openStream, port, streamable, takeMessage, ttl } from '../shared/mcp.mjs';
import { Provider } from '../shared/provider.mjs';

const streamed = new URL('/sse', base);
const resource = new URL('/mcp', base);
const provider = new Provider();
const app = express();
app.use(mcpAuthRouter({ provider, issuerUrl: new URL(base), resourceServerUrl: resource, scopesSupported: ['mcp:tools'] }));
app.get('/.well-known/oauth-protected-resource/sse', (_, response) => {
  response.json({ resource: streamed.href, authorization_servers: [new URL(base).href], scopes_supported: ['mcp:tools'] });
});

const signedIn = (url) => requireBearerAuth({ verifier: provider, resourceMetadataUrl: getOAuthProtectedResourceMetadataUrl(url) });
app.all('/mcp', signedIn(resource), express.json(), (request, response) => streamable(request, response, request.auth.clientId, request.body));
app.get('/sse', signedIn(streamed), (request, response) => openStream(response, request.auth.clientId, '/messages'));
app.post('/messages', signedIn(streamed), express.json(), (request, response) => takeMessage(request, response, request.body));
app.listen(port);
