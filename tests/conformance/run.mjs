// Plans the legs, runs the suite for each scenario of each, and compares with the failures that are expected.
// Started by `run`.
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

const MODERN = '2026-07-28';
const LAST_LEGACY = '2025-11-25';

/** What the suite lists in the place of versions. */
const EXTENSION = 'extension';

/** How long one scenario may take, in milliseconds: the longest of them waits for several reconnections. */
const SCENARIO_LIMIT = 60_000;

/** How much longer the suite may need than its own limit before it is stopped, in milliseconds. */
const GRACE = 15_000;

/** How the verdict of the suite begins, which is all that a failure may be expected of. */
const REFUSED = 'the suite says no';

/** This one measures time, so nothing runs beside it. */
const ALONE = 'sse-retry';

// Skills: the app must not prefetch and must verify what it reads. There is nothing that a bridge does.
const OF_THE_APP_ALONE = /^sep-2640-/;

const { values: options } = parseArgs({
  options: {
    suite: { type: 'string' },
    bridge: { type: 'string' },
    logs: { type: 'string' },
    leg: { type: 'string', multiple: true },
    only: { type: 'string', default: '' },
    jobs: { type: 'string', default: '4' }
  }
});

const here = import.meta.dirname;
const program = join(options.suite, 'dist/index.js');

// ---------------------------------------------------------------- what to run

/** Each leg: which app speaks, and with which of a scenario's versions the suite's server does. Those of extensions have
 * none, and run with the last of either era. */
const LEGS = {
  '2025-legacy-host': { era: 'legacy', versions: (all) => all.filter((version) => version < MODERN) },
  '2026-modern-host': { era: 'modern', versions: (all) => all.filter((version) => version === MODERN) },
  '2026-legacy-host': { era: 'legacy', versions: (all) => all.filter((version) => version === MODERN) },
  '2025-probing-host': { era: 'probing', versions: (all) => all.filter((version) => version === LAST_LEGACY) },
  'extensions-legacy-host': { era: 'legacy', versions: (all) => (all.includes(EXTENSION) ? [LAST_LEGACY] : []) },
  'extensions-modern-host': { era: 'modern', versions: (all) => (all.includes(EXTENSION) ? [MODERN] : []) }
};

function scenarios() {
  const list = execFileSync(process.execPath, [program, 'list', '--client'], { encoding: 'utf8' });
  return [...list.matchAll(/^\s*- (\S+) \[([^\]]*)\]/gm)]
    .map(([, name, versions]) => ({ name, versions: versions.split(',').map((version) => version.trim()) }))
    .filter(({ name }) => !OF_THE_APP_ALONE.test(name));
}

function plan() {
  const legs = Object.entries(LEGS).filter(([leg]) => !options.leg || options.leg.includes(leg));
  const all = scenarios().filter(({ name }) => new RegExp(options.only).test(name));
  const runs = [];
  for (const [leg, { era, versions }] of legs)
    for (const { name, versions: known } of all)
      for (const version of versions(known)) runs.push({ leg, era, version, scenario: name });
  return runs;
}

/** `leg version scenario: reason`, by the first three. */
function expectedFailures() {
  const lines = readFileSync(join(here, 'expected-failures.txt'), 'utf8').split('\n');
  const entries = lines.filter((line) => line && !line.startsWith('#')).map((line) => {
    const [, key, reason] = /^(\S+ \S+ \S+): (\S.*)$/.exec(line) ?? [];
    if (!key) throw new Error(`expected-failures.txt: no "leg version scenario: reason": ${line}`);
    return [key, reason];
  });
  return new Map(entries);
}

const keyOf = ({ leg, version, scenario }) => `${leg} ${version} ${scenario}`;

// ---------------------------------------------------------------- one scenario

const running = new Set();

/** The suite leads a process group of its own: this ends what it started, and nothing else. */
function stop(child) {
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch {
    // It has ended.
  }
}

for (const signal of ['SIGINT', 'SIGTERM'])
  process.on(signal, () => {
    running.forEach(stop);
    process.exit(130);
  });

/** Runs the suite, and returns what was wrong: nothing, if all is well. */
function faults(run) {
  const directory = join(options.logs, run.leg, run.version, run.scenario.replaceAll('/', '_'));
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory, { recursive: true });
  const host = `${process.execPath} ${join(here, 'host.mjs')}`;
  const suite = ['client', '--command', host, '--scenario', run.scenario, '--spec-version', run.version];
  // The suite takes a version for an extension only by force.
  const force = run.leg.startsWith('extensions') ? ['--force'] : [];
  const limits = ['--timeout', String(SCENARIO_LIMIT), '-o', join(directory, 'suite')];
  const env = { ...process.env, HOST_BRIDGE: options.bridge, HOST_ERA: run.era, HOST_DIRECTORY: directory };
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [program, ...suite, ...limits, ...force], {
      cwd: directory, env, detached: true, stdio: ['ignore', 'pipe', 'pipe']
    });
    running.add(child);
    let said = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => { said += text; });
    const limit = setTimeout(() => stop(child), SCENARIO_LIMIT + GRACE);
    child.on('close', (status) => {
      clearTimeout(limit);
      running.delete(child);
      stop(child);
      writeFileSync(join(directory, 'suite.log'), said);
      const found = [];
      if (status !== 0) found.push(`${REFUSED} (${reasons(said)})`);
      const report = join(directory, 'host.json');
      if (existsSync(report)) found.push(...JSON.parse(readFileSync(report, 'utf8')).faults);
      else found.push('the host did not report');
      resolve(found);
    });
  });
}

/** The checks that failed, as the suite names them. */
function reasons(said) {
  const lines = said.split('\n').filter((line) => /FAILURE|WARNING|✗|timed out/i.test(line));
  return lines.slice(0, 3).map((line) => line.trim().slice(0, 160)).join('; ') || 'see suite.log';
}

// ---------------------------------------------------------------- all of them

const runs = plan();
const expected = expectedFailures();
const outcomes = new Map();

async function work(queue) {
  for (let run; (run = queue.shift()); ) {
    const found = await faults(run);
    outcomes.set(keyOf(run), found);
    process.stderr.write(`${found.length ? 'FAIL' : 'ok  '} ${keyOf(run)}\n`);
  }
}

const together = runs.filter((run) => run.scenario !== ALONE);
await Promise.all(Array.from({ length: Number(options.jobs) }, () => work(together)));
await work(runs.filter((run) => run.scenario === ALONE));

const columns = [...new Set(runs.map(({ leg, version }) => `${leg} ${version}`))];
const cell = (column, scenario) => {
  const key = `${column} ${scenario}`;
  if (!outcomes.has(key)) return '';
  if (outcomes.get(key).length === 0) return expected.has(key) ? 'PASSES' : 'ok';
  return expected.has(key) ? 'expected' : 'FAIL';
};
console.log(`| scenario | ${columns.join(' | ')} |\n|---|${'---|'.repeat(columns.length)}`);
for (const scenario of new Set(runs.map((run) => run.scenario)))
  console.log(`| ${scenario} | ${columns.map((column) => cell(column, scenario)).join(' | ')} |`);

console.log();
for (const leg of new Set(runs.map((run) => run.leg))) {
  const of = runs.filter((run) => run.leg === leg);
  const passed = of.filter((run) => outcomes.get(keyOf(run)).length === 0);
  console.log(`${leg}: ${passed.length} of ${of.length}`);
}

const unexpected = [];
for (const [key, found] of outcomes) {
  const surprises = found.filter((fault) => !expected.has(key) || !fault.startsWith(REFUSED));
  if (surprises.length) unexpected.push(`${key}: ${surprises.join('; ')}`);
  if (!found.length && expected.has(key)) unexpected.push(`${key}: passes; take it out of expected-failures.txt`);
}
if (unexpected.length || !runs.length) {
  console.log(`\nunexpected:\n${unexpected.join('\n') || 'nothing ran'}\nlogs: ${options.logs}`);
  process.exit(1);
}
