// npm's openid-client with DPoP at the example server: sign-in, a request, a refresh, and requests that must be refused.
import * as client from 'openid-client';
import { signIn } from './browser.mjs';

const [endpoint, algorithm] = process.argv.slice(2);
const insecure = { execute: [client.allowInsecureRequests] };
const redirect = 'http://127.0.0.1:49152/callback';
const message = JSON.stringify({
  jsonrpc: '2.0', id: 1, method: 'initialize',
  params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'openid-client', version: '0' } },
});

function check(what, condition, found) {
  if (!condition) throw new Error(`${what}: ${JSON.stringify(found)}`);
  console.log(`ok ${what}`);
}

const resource = await (await fetch(new URL('/.well-known/oauth-protected-resource/mcp', endpoint))).json();
check('resource metadata', resource.dpop_signing_alg_values_supported?.includes(algorithm), resource);
const config = await client.dynamicClientRegistration(
  new URL(resource.authorization_servers[0]),
  { client_name: 'openid-client', redirect_uris: [redirect], grant_types: ['authorization_code', 'refresh_token'],
    token_endpoint_auth_method: 'none', dpop_bound_access_tokens: true },
  client.None(), { ...insecure, algorithm: 'oauth2' },
);
check('registration', config.clientMetadata().dpop_bound_access_tokens === true, config.clientMetadata());

const keys = await client.randomDPoPKeyPair(algorithm);
const DPoP = client.getDPoPHandle(config, keys);
const verifier = client.randomPKCECodeVerifier();
const parameters = {
  redirect_uri: redirect, scope: 'profile', resource: resource.resource, state: 'state',
  code_challenge: await client.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256',
  dpop_jkt: await DPoP.calculateThumbprint(),
};
const callback = await signIn(client.buildAuthorizationUrl(config, parameters), redirect);
const tokens = await client.authorizationCodeGrant(
  config, callback, { pkceCodeVerifier: verifier, expectedState: 'state' }, { resource: resource.resource }, { DPoP },
);
check('token', tokens.token_type === 'dpop', tokens.token_type);

const headers = () => new Headers({ 'content-type': 'application/json', accept: 'application/json, text/event-stream' });
const send = (token, handle) =>
  client.fetchProtectedResource(config, token, new URL(endpoint), 'POST', message, headers(), { DPoP: handle });
for (const attempt of ['request', 'second request']) {
  const response = await send(tokens.access_token, DPoP);
  check(attempt, response.status === 200 && (await response.text()).includes('serverInfo'), response.status);
}

const refreshed = await client.refreshTokenGrant(config, tokens.refresh_token, { resource: resource.resource }, { DPoP });
check('refresh', (await send(refreshed.access_token, DPoP)).status === 200, refreshed.token_type);

async function refused(what, attempt, expected) {
  try {
    const response = await attempt();
    const challenge = response.headers?.get('www-authenticate') ?? '';
    check(what, response.status === 401 && challenge.includes(expected), [response.status, challenge]);
  } catch (error) {
    const found = error.error ?? error.cause?.[0]?.parameters?.error;
    check(what, found === expected, String(found ?? error));
  }
}
const thief = client.getDPoPHandle(config, await client.randomDPoPKeyPair(algorithm));
await refused('another key', () => send(refreshed.access_token, thief), 'invalid_token');
await refused('bearer', () => send(refreshed.access_token, undefined), 'invalid_token');
const steal = () => client.refreshTokenGrant(config, refreshed.refresh_token, { resource: resource.resource }, { DPoP: thief });
await refused('refresh with another key', steal, 'invalid_grant');
const without = () => client.refreshTokenGrant(config, refreshed.refresh_token, { resource: resource.resource });
await refused('refresh without a proof', without, 'invalid_dpop_proof');
