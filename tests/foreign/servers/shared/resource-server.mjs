// The program of examples/resource-server as the MCP server, where the driver names it: the authorization server then
// has an origin of its own.
import { spawn } from 'node:child_process';

const program = process.env.RESOURCE_SERVER;

/** Whether the program is the MCP server. */
export const apart = Boolean(program);

/** Port of the authorization server: like the ports of the driver, below those that systems give out by themselves. */
export const issuerPort = Number(process.env.PORT ?? 0) - (apart ? 10_000 : 0);

/** Origin of the authorization server. */
export const issuerOrigin = apart ? `http://127.0.0.1:${issuerPort}` : process.env.BASE_URL;

/** Starts the program, with what it has to know of the issuer. Ends with it. */
export function startResourceServer(issuer, settings = {}) {
  const { BASE_URL, PORT } = process.env;
  if (process.env.EXAMPLE_SERVER) return startExampleServer(issuer, settings);
  const known = { ISSUER: issuer, RESOURCE: `${BASE_URL}/mcp`, LISTEN: `127.0.0.1:${PORT}`, NO_PROXY: '*' };
  const child = spawn(program, { env: { ...process.env, ...known, ...settings }, stdio: ['ignore', 'inherit', 'inherit'] });
  child.on('exit', (status) => process.exit(status ?? 1));
}

/** The same for examples/server, which issues no tokens of its own then. */
function startExampleServer(issuer, settings) {
  const { BASE_URL, PORT, EXAMPLE_SERVER } = process.env;
  const place = ['--bind', `127.0.0.1:${PORT}`, '--public-url', BASE_URL];
  const scopes = settings.SCOPES.split(' ').flatMap((scope) => ['--required-scope', scope]);
  const credentials = {
    EXAMPLE_INTROSPECTION_CLIENT_ID: settings.INTROSPECTION_CLIENT_ID ?? '',
    EXAMPLE_INTROSPECTION_CLIENT_SECRET: settings.INTROSPECTION_CLIENT_SECRET ?? ''
  };
  const environment = { ...process.env, ...credentials, NO_PROXY: '*' };
  const options = { env: environment, stdio: ['ignore', 'inherit', 'inherit'] };
  const child = spawn(EXAMPLE_SERVER, ['--issuer', issuer, ...place, ...scopes], options);
  child.on('exit', (status) => process.exit(status ?? 1));
}
