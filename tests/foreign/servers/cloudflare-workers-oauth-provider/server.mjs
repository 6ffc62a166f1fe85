// Cloudflare's OAuth provider for Workers, in their own runtime (workerd) under miniflare. The key-value store is in
// memory. Its tokens live for at least 60 seconds.
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { readFileSync } from 'node:fs';
import { Miniflare } from 'miniflare';

const library = join(dirname(createRequire(import.meta.url).resolve('miniflare/package.json')), '../@cloudflare/workers-oauth-provider/dist/oauth-provider.js');

const miniflare = new Miniflare({
  host: '127.0.0.1',
  port: Number(process.env.PORT),
  cf: false, // nothing is fetched from the network
  telemetry: { enabled: false },
  compatibilityDate: '2026-01-01',
  compatibilityFlags: ['nodejs_compat'],
  modules: [
    { type: 'ESModule', path: 'worker.mjs', contents: readFileSync(new URL('worker.mjs', import.meta.url), 'utf8') },
    { type: 'ESModule', path: 'oauth-provider.mjs', contents: readFileSync(library, 'utf8') },
  ],
  bindings: { BASE_URL: process.env.BASE_URL, TOKEN_TTL: Number(process.env.TOKEN_TTL) },
  kvNamespaces: ['OAUTH_KV'],
});
await miniflare.ready;
process.on('SIGTERM', () => miniflare.dispose().finally(() => process.exit(0)));
