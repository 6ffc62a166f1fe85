#!/usr/bin/env node
// The browser of the tests: opens the page, follows where it is sent to, and so brings the answer of a
// sign-in to the bridge. It returns at once, as the programs that open a browser do, and stays on loopback.
import { spawn } from 'node:child_process';
import { setTimeout as wait } from 'node:timers/promises';

/** How often a page that nobody serves yet is loaded again, and after how many milliseconds. */
const RELOADS = 20;
const RELOAD = 150;

/** How many redirects are followed. */
const HOPS = 10;

/** How long all of it may take, in milliseconds. */
const LIMIT = 20_000;

const [page, inBackground] = process.argv.slice(2);
if (inBackground) await visit(new URL(page));
else spawn(process.execPath, [process.argv[1], page, 'background'], { detached: true, stdio: 'ignore' }).unref();

async function visit(url) {
  setTimeout(() => process.exit(1), LIMIT).unref();
  for (let hop = 0; hop < HOPS; hop++) {
    if (!['localhost', '127.0.0.1', '[::1]'].includes(url.hostname)) process.exit(1);
    const response = await load(url);
    const next = response.headers.get('location');
    await response.body?.cancel();
    if (!next) return;
    url = new URL(next, url);
  }
}

async function load(url) {
  for (let attempt = 0; ; attempt++) {
    try {
      return await fetch(url, { redirect: 'manual' });
    } catch (error) {
      if (attempt === RELOADS) throw error;
      await wait(RELOAD);
    }
  }
}
