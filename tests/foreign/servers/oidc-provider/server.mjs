// An MCP server behind a certified OpenID provider: dynamic registration, resource indicators, rotating
// refresh tokens with reuse detection, device flow, client credentials with a secret or a key. Nobody has to sign
// in by hand: the interaction page approves at once. Prints its URL; counts what matters at /counts. Without PORT it
// takes a free one, and ends when stdin is closed. With DPOP=1 it wants tokens that are bound to a key (RFC 9449), and a
// nonce in each proof. Besides /mcp there are the servers /mcp/NAME, each with tokens of its own. It is also the identity provider of a company, and takes its own word for the people of one
// (draft-ietf-oauth-identity-assertion-authz-grant), by grants that are registered here.
import { createHash, createPublicKey, generateKeyPairSync, randomBytes } from 'node:crypto';
import { appendFileSync, existsSync, linkSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { calculateJwkThumbprint, createRemoteJWKSet, EmbeddedJWK, importPKCS8, importSPKI, jwtVerify, SignJWT } from 'jose';
import { errors, Provider } from 'oidc-provider';
import { streamable } from '../shared/mcp.mjs';
import { apart, issuerOrigin, issuerPort, startResourceServer } from '../shared/resource-server.mjs';

const lifetime = Number(process.env.TOKEN_TTL ?? 3);
const counts = { sign_ins: 0, refreshes: 0, registrations: 0, revoked_families: 0 };

const server = http.createServer();
// Where something stands in between, it listens on another port than the one that clients know. The end of an idle
// connection would be late there, and meet a request on its way.
if (process.env.LISTEN_PORT) server.keepAliveTimeout = 3_600_000;
const listenPort = Number(process.env.LISTEN_PORT ?? issuerPort);
await new Promise((listening) => server.listen(listenPort, '127.0.0.1', listening));
const origin = issuerOrigin ?? `http://localhost:${server.address().port}`;
const resource = `${process.env.BASE_URL ?? origin}/mcp`;
const format = process.env.TOKEN_FORMAT ?? 'opaque';
// The resource server's credentials for introspection, which it needs for opaque tokens alone.
const introspector = { client_id: 'resource server', client_secret: 'secret: with % and +' };

const key = new URL('robot.pem', import.meta.url);
if (!existsSync(key)) {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const own = new URL(`robot.${process.pid}.pem`, import.meta.url);
  writeFileSync(own, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 });
  try { linkSync(own, key); } catch { /* another process was first: its key is taken */ }
  rmSync(own);
}
const publicKey = createPublicKey(readFileSync(key)).export({ format: 'jwk' });
const dpop = process.env.DPOP === '1';
const JWT_BEARER = 'urn:ietf:params:oauth:grant-type:jwt-bearer';
const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
const ID_JAG = 'urn:ietf:params:oauth:token-type:id-jag';
const robot = { grant_types: ['client_credentials'], redirect_uris: [], response_types: [] };

const provider = new Provider(origin, {
  clients: [
    { ...robot, client_id: 'robot', client_secret: 'robot-secret' },
    {
      client_id: 'employee',
      client_secret: 'employee-secret',
      application_type: 'native',
      redirect_uris: ['http://localhost/oauth/callback'],
      grant_types: ['authorization_code', 'refresh_token', TOKEN_EXCHANGE],
    },
    { ...robot, client_id: 'employee at the server', client_secret: 'server-secret', grant_types: [JWT_BEARER] },
    { ...introspector, grant_types: [], redirect_uris: [], response_types: [] },
    {
      ...robot,
      client_id: 'robot-with-key',
      token_endpoint_auth_method: 'private_key_jwt',
      token_endpoint_auth_signing_alg: 'ES256',
      jwks: { keys: [{ ...publicKey, alg: 'ES256', use: 'sig' }] },
    },
  ],
  features: {
    devInteractions: { enabled: false },
    registration: { enabled: true },
    clientCredentials: { enabled: true },
    revocation: { enabled: true },
    introspection: { enabled: true },
    deviceFlow: { enabled: true },
    dPoP: { enabled: dpop, nonceSecret: randomBytes(32), requireNonce: () => true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => undefined,
      useGrantedResource: () => true,
      getResourceServerInfo: (_, indicator) => {
        if (indicator !== resource && !indicator.startsWith(`${resource}/`)) throw new Error('unknown resource');
        return { scope: 'mcp:use', audience: indicator, accessTokenFormat: format, accessTokenTTL: lifetime };
      },
    },
  },
  clientAuthMethods: ['none', 'client_secret_basic', 'client_secret_post', 'private_key_jwt'],
  scopes: ['openid', 'offline_access'],
  rotateRefreshToken: true,
  issueRefreshToken: (_, client) => client.grantTypeAllowed('refresh_token'),
  ttl: { AccessToken: lifetime, ClientCredentials: lifetime, RefreshToken: 3600, Grant: 3600, Session: 3600, Interaction: 600 },
  interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  cookies: { keys: ['for tests only'] },
});

// The side of the identity provider: an ID token of the same client becomes a grant for another authorization server.
const invalid = (words) => Object.assign(new errors.InvalidGrant(words), { error_description: words });
const signingKey = await importPKCS8(readFileSync(key, 'utf8'), 'ES256');
const verificationKey = await importSPKI(createPublicKey(readFileSync(key)).export({ type: 'spki', format: 'pem' }), 'ES256');
provider.registerGrantType(TOKEN_EXCHANGE, async (ctx) => {
  const { client, params } = ctx.oidc;
  if (params.requested_token_type !== ID_JAG) throw invalid('only grants are issued');
  if (params.subject_token_type !== 'urn:ietf:params:oauth:token-type:id_token') throw invalid('only ID tokens are taken');
  const keys = createRemoteJWKSet(new URL(`${origin}/jwks`));
  const expected = { issuer: origin, audience: client.clientId };
  const { payload } = await jwtVerify(params.subject_token, keys, expected).catch((error) => { throw invalid(error.message); });
  const claims = { resource: params.resource, client_id: 'employee at the server' };
  const grant = await new SignJWT(claims).setProtectedHeader({ alg: 'ES256', typ: 'oauth-id-jag+jwt' }).setIssuer(origin)
    .setSubject(payload.sub).setAudience(params.audience).setIssuedAt().setExpirationTime('5m')
    .setJti(randomBytes(16).toString('hex')).sign(signingKey);
  ctx.body = { access_token: grant, issued_token_type: ID_JAG, token_type: 'N_A', expires_in: 300 };
}, ['subject_token', 'subject_token_type', 'requested_token_type', 'audience', 'resource', 'scope']);

// The side of the authorization server.
provider.registerGrantType(JWT_BEARER, async (ctx) => {
  const { client, params } = ctx.oidc;
  const expected = { issuer: origin, audience: origin, typ: 'oauth-id-jag+jwt' };
  const { payload } = await jwtVerify(params.assertion, verificationKey, expected).catch((error) => { throw invalid(error.message); });
  if (payload.client_id !== client.clientId || payload.resource !== resource) throw invalid('for another client or resource');
  const grant = new provider.Grant({ accountId: payload.sub, clientId: client.clientId });
  grant.addResourceScope(resource, 'mcp:use');
  const token = new provider.AccessToken({ accountId: payload.sub, client, grantId: await grant.save(), gty: 'jwt_bearer', scope: 'mcp:use' });
  token.resourceServer = new provider.ResourceServer(resource, { scope: 'mcp:use', audience: resource, accessTokenFormat: format, accessTokenTTL: lifetime });
  ctx.body = { access_token: await token.save(), token_type: 'Bearer', expires_in: lifetime, scope: 'mcp:use' };
}, ['assertion', 'resource', 'scope']);

// With TOKEN_LOG each answer of the token endpoint becomes a line of this file, tokens and all.
provider.use(async (ctx, next) => {
  await next();
  if (!process.env.TOKEN_LOG || ctx.path !== '/token') return;
  const { grant_type: grantType, refresh_token: sent } = ctx.oidc?.params ?? {};
  const entry = { at: Date.now() / 1000, grant_type: grantType, sent, ...ctx.body };
  appendFileSync(process.env.TOKEN_LOG, `${JSON.stringify(entry)}\n`);
});

provider.on('grant.success', ({ oidc }) => {
  if (oidc.params.grant_type === 'refresh_token') counts.refreshes += 1;
});
provider.on('grant.revoked', () => { counts.revoked_families += 1; });
provider.on('registration_create.success', () => { counts.registrations += 1; });

async function approve(request, response) {
  const { params, prompt } = await provider.interactionDetails(request, response);
  if (prompt.name === 'login') {
    counts.sign_ins += 1;
    return provider.interactionFinished(request, response, { login: { accountId: 'someone' } });
  }
  const grant = new provider.Grant({ accountId: 'someone', clientId: params.client_id });
  grant.addOIDCScope(params.scope);
  for (const indicator of [params.resource ?? resource].flat()) grant.addResourceScope(indicator, 'mcp:use');
  const grantId = await grant.save();
  return provider.interactionFinished(request, response, { consent: { grantId } });
}

// The MCP server's own check of a proof (RFC 9449 §4.3). Its nonce changes with each start.
const resourceNonce = randomBytes(16).toString('base64url');
const proofs = new Set();
async function proofProblem(request, value, token, own) {
  try {
    const { payload, protectedHeader } = await jwtVerify(request.headers.dpop, EmbeddedJWK, { typ: 'dpop+jwt', algorithms: ['ES256'] });
    const { ath, htm, htu, iat, jti, nonce } = payload;
    const isNow = Math.abs(Date.now() / 1000 - iat) < 60;
    if (htm !== request.method || htu !== own || !isNow || proofs.has(jti)) return 'invalid_dpop_proof';
    if (ath !== createHash('sha256').update(value).digest('base64url')) return 'invalid_dpop_proof';
    if (await calculateJwkThumbprint(protectedHeader.jwk) !== token.jkt) return 'invalid_token';
    if (nonce !== resourceNonce) return 'use_dpop_nonce';
    proofs.add(jti);
    return undefined;
  } catch { return 'invalid_dpop_proof'; }
}

// A JWT is not stored, so it is verified as any resource server would.
async function tokenOf(value) {
  if (format !== 'jwt') return await provider.AccessToken.find(value) ?? await provider.ClientCredentials.find(value);
  try {
    const keys = createRemoteJWKSet(new URL(`${origin}/jwks`));
    const { payload } = await jwtVerify(value, keys, { issuer: origin });
    return { aud: payload.aud, accountId: payload.sub, clientId: payload.client_id, jkt: payload.cnf?.jkt };
  } catch { return undefined; }
}

async function mcp(request, response, pathname) {
  const own = `${resource}${pathname.slice('/mcp'.length)}`;
  const [scheme, value] = (request.headers.authorization ?? '').split(' ');
  const token = value && await tokenOf(value);
  const isValid = token && !token.isExpired && token.aud === own && scheme === (dpop ? 'DPoP' : 'Bearer');
  const problem = isValid && dpop ? await proofProblem(request, value, token, own) : undefined;
  if (dpop) response.setHeader('dpop-nonce', resourceNonce);
  if (!isValid || problem) {
    const metadata = `resource_metadata="${origin}/.well-known/oauth-protected-resource${pathname}"`;
    const error = problem ? `, error="${problem}"` : '';
    response.writeHead(401, { 'www-authenticate': `${dpop ? 'DPoP' : 'Bearer'} ${metadata}${error}` });
    return response.end();
  }
  if (!process.env.PORT) return response.writeHead(200).end(); // the integration tests only look at the status
  return streamable(request, response, token.accountId ?? token.clientId);
}

const handle = provider.callback();
server.on('request', (request, response) => {
  const { pathname } = new URL(request.url, origin);
  const json = (body) => {
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(JSON.stringify(body));
  };
  if (pathname === '/mcp' || pathname.startsWith('/mcp/')) return mcp(request, response, pathname);
  if (pathname === '/counts') return json(counts);
  if (pathname.startsWith('/.well-known/oauth-protected-resource/mcp')) {
    const name = pathname.slice('/.well-known/oauth-protected-resource/mcp'.length);
    return json({ resource: `${resource}${name}`, authorization_servers: [origin], scopes_supported: ['mcp:use'] });
  }
  if (pathname.startsWith('/interaction/')) {
    return approve(request, response).catch((error) => response.writeHead(500).end(String(error)));
  }
  return handle(request, response);
});

if (apart) {
  startResourceServer(origin, {
    SCOPES: 'mcp:use',
    CACHE_SECONDS: '0',
    ...(format === 'opaque' && {
      INTROSPECTION_CLIENT_ID: introspector.client_id,
      INTROSPECTION_CLIENT_SECRET: introspector.client_secret,
    }),
  });
}
console.log(resource);
if (!process.env.PORT) {
  process.stdin.resume();
  process.stdin.on('end', () => process.exit(0));
}
