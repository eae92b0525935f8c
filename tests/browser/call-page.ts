/** Calls the functions of pages/engines.ts in an open page, on its own thread or in a worker. */
import type { Page } from 'playwright-core';
import type { Thread } from './pages/client.js';
import type * as functions from './pages/engines.js';

type Functions = typeof functions;

/** Calls a function by name. The page must come from a bundle with the entries `client` and `worker`. */
export async function callPage<Name extends keyof Functions>(
  page: Page,
  thread: Thread,
  name: Name,
  ...args: Parameters<Functions[Name]>
): Promise<Awaited<ReturnType<Functions[Name]>>> {
  const hasClient = await page.evaluate(() => 'callFunction' in globalThis);
  if (!hasClient) await page.addScriptTag({ url: 'client.js', type: 'module' });
  const request = { thread, name: name as string, args: args as unknown[] };
  const value = await page.evaluate((call) => globalThis.callFunction(call.thread, call.name, call.args), request);
  return value as Awaited<ReturnType<Functions[Name]>>;
}
