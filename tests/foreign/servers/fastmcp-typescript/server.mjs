// FastMCP for TypeScript with its OAuth proxy. The provider behind it is the TypeScript SDK's, where the proxy is
// a client that was registered beforehand.
import express from 'express';
import { FastMCP, OAuthProvider } from 'fastmcp';
import { mcpAuthRouter } from '@modelcontextprotocol/sdk/server/auth/router.js';
import { base, port, ttl } from '../shared/mcp.mjs';
import { Provider } from '../shared/provider.mjs';

const upstream = express();
const listening = await new Promise((done) => { const it = upstream.listen(0, '127.0.0.1', () => done(it)); });
const behind = `http://127.0.0.1:${listening.address().port}`;
const provider = new Provider();
await provider.clientsStore.registerClient({
  client_id: 'proxy',
  client_secret: 'proxy-secret',
  redirect_uris: [`${base}/oauth/callback`],
  token_endpoint_auth_method: 'client_secret_post',
});
upstream.use(mcpAuthRouter({ provider, issuerUrl: new URL(behind) }));

const server = new FastMCP({
  name: 'whoami',
  version: '1.0.0',
  auth: new OAuthProvider({
    authorizationEndpoint: `${behind}/authorize`,
    tokenEndpoint: `${behind}/token`,
    tokenEndpointAuthMethod: 'client_secret_post',
    clientId: 'proxy',
    clientSecret: 'proxy-secret',
    baseUrl: base,
    scopes: ['mcp:tools'],
  }),
});
server.addTool({
  name: 'whoami',
  description: 'Says who is signed in',
  execute: async (_, { session }) => `signed in until ${session?.expiresAt ?? `${ttl} s after the sign-in`}`,
});
await server.start({ transportType: 'httpStream', httpStream: { port, host: '127.0.0.1' } });
