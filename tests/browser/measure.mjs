// How fast the page is with many messages: figures, and no test. `tests/browser/run --measure` prints them.
import { performance } from 'node:perf_hooks';

import { inspect, launch, visit } from './support/inspector.mjs';
import { rows } from './support/person.mjs';
import { recordingOf } from './support/recording.mjs';

const COUNTS = [100, 10_000, 40_000];
const SCROLLED_FRAMES = 120;
const KEYS = 50;

const milliseconds = (from) => performance.now() - from;
const shown = (number) => number.toFixed(number < 100 ? 1 : 0);

/** The middle one, and the worst. */
function summary(values) {
  const sorted = values.toSorted((one, other) => one - other);
  return [sorted[Math.floor(sorted.length / 2)], sorted.at(-1)];
}

/** Milliseconds from each frame to the next while the list is scrolled from its beginning to its end. */
function scroll(page) {
  return rows(page).evaluate((list, frames) => new Promise((resolve) => {
    const [gaps, step] = [[], (list.scrollHeight - list.clientHeight) / frames];
    let before;
    const frame = (now) => {
      if (before !== undefined) gaps.push(now - before);
      before = now;
      if (gaps.length >= frames) return resolve(gaps);
      list.scrollTop += step;
      return requestAnimationFrame(frame);
    };
    list.scrollTop = 0;
    requestAnimationFrame(frame);
  }), SCROLLED_FRAMES);
}

/** Milliseconds of work of the page, without what the driver adds. */
async function work(page, act) {
  const session = await page.context().newCDPSession(page);
  await session.send('Performance.enable');
  const busy = async () => (await session.send('Performance.getMetrics')).metrics.find((metric) => metric.name === 'TaskDuration').value * 1000;
  const before = await busy();
  await act();
  const took = await busy() - before;
  await session.detach();
  return took;
}

async function measure(browser, ends, count) {
  const visitor = await visit(browser, { after: (end) => ends.unshift(end) });
  const recording = recordingOf(count, visitor);
  const begun = performance.now();
  const { page } = await inspect(visitor, '--recording', recording);
  await page.locator('#count').getByText(String(count), { exact: true }).waitFor();
  const loaded = milliseconds(begun);
  const [frame, worstFrame] = summary(await scroll(page));
  const scrolling = await work(page, () => scroll(page)) / SCROLLED_FRAMES;
  await rows(page).focus();
  await page.keyboard.press('Home');
  const key = await work(page, async () => {
    for (let at = 0; at < KEYS; at += 1) await page.keyboard.press('ArrowDown');
  }) / KEYS;
  const search = await work(page, async () => {
    await page.getByLabel('Search').first().fill(`text ${count - 1}`);
    await page.locator('#count').getByText(`1 of ${count}`, { exact: true }).waitFor();
  });
  const elements = await page.evaluate(() => document.querySelectorAll('*').length);
  return [count, loaded, frame, worstFrame, scrolling, key, search].map(shown).concat(elements);
}

const browser = await launch();
const ends = [];
console.log('| messages | started, loaded and shown, ms | a frame while scrolling, ms | the longest | work of a frame, ms | a key, ms | search, ms | elements |');
console.log('|---:|---:|---:|---:|---:|---:|---:|---:|');
try {
  for (const count of COUNTS) {
    console.log(`| ${(await measure(browser, ends, count)).join(' | ')} |`);
    while (ends.length > 0) await ends.shift()();
  }
} finally {
  while (ends.length > 0) await ends.shift()();
  await browser.close();
}
