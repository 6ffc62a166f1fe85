// A recording as --record writes it, with as many messages as wanted.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

const NOTHING = { status: 0, statusText: '', httpVersion: '', cookies: [], headers: [], content: { size: 0, mimeType: '' }, redirectURL: '', headersSize: -1, bodySize: -1 };

/** Writes a recording of `count` calls, and returns its path. */
export function recordingOf(count, { home }) {
  const path = join(home, 'recording.har');
  const entries = Array.from({ length: count }, (_, at) => entry(at));
  writeFileSync(path, JSON.stringify({ log: { version: '1.2', creator: { name: 'mcp-bridge', version: '0' }, entries } }));
  return path;
}

function entry(at) {
  const text = JSON.stringify({ jsonrpc: '2.0', id: at, method: 'tools/call', params: { name: 'echo', arguments: { text: `text ${at}` } } });
  return {
    startedDateTime: new Date(Date.UTC(2026, 0, 1) + at).toISOString(), time: 0, cache: {}, timings: { send: 0, wait: 0, receive: 0 },
    request: { method: 'STDIN', url: 'stdio://app/tools/call', httpVersion: '', cookies: [], headers: [], queryString: [], headersSize: -1, bodySize: text.length, postData: { mimeType: 'application/json', text } },
    response: NOTHING,
    _mcp: { kind: 'message', direction: 'from-app', message: 'request', id: at, method: 'tools/call' },
  };
}
